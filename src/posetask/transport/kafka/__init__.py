"""The bus over Apache Kafka.

``bus.KafkaBus`` is the bus of one stage, ``settings.KafkaSettings`` how to reach the brokers,
``topics.TopicAdmin`` makes and deletes what a run needs. These need the package ``confluent-kafka``;
names, settings, arithmetic and order (``names``, ``settings``, ``keys``, ``window``, ``sequencer``,
``faults``) do not.
"""
