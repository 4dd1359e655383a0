"""A stage as a resident service: a model loaded once, many tasks, eight endpoints, a folder to resume from.

``contract`` what callers say and hear; ``state`` what outlives the process; ``task`` one task at work;
``service`` all of them; ``app`` and ``server`` the endpoints; ``fleet`` the services of one machine;
``client`` asks them.
"""
