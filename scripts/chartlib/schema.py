"""values.schema.json: types from values.yaml's defaults, words from its comments, the rest from the settings.

What the operator's settings have a model for (profiles, stage types, timings) is taken from that model, so
that the chart refuses what the operator would refuse.
"""

from __future__ import annotations

from typing import Any

from pydantic.alias_generators import to_camel

from posetask_operator.settings import Settings

Schema = dict[str, Any]

COMMON = {
    "enabled": "Whether it is there.",
    "repository": "Of the image, without registry, tag and digest.",
    "tag": "Of the image; empty: the chart's appVersion.",
    "digest": "Of the image, sha256:…; it wins over the tag.",
    "image": "The whole reference.",
    "resources": "Requests and limits of the container.",
    "labels": "More labels, by which Prometheus or Grafana select.",
    "replicas": "Pods.",
    "interval": "Between two scrapes.",
    "to": "Peers, as in a NetworkPolicy; empty: everywhere.",
    "ports": "Ports that may be reached.",
    "sources": "URI prefixes that may be read.",
    "outputs": "URI prefixes that may be written, beside the root's own.",
    "bucket": "Its one bucket.",
    "size": "Most that it may hold.",
    "default": "The profile that is taken where a task names none.",
}
_DNS = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_FREE = {"type": "object", "additionalProperties": True}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_DIGEST = {"pattern": "^(sha256:[0-9a-f]{64})?$"}
_SECRETS = {"type": "array", "items": {"type": "string", "pattern": _DNS}}
_PORTS = {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 65535}}
_RESOURCES = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        name: {"type": "object", "additionalProperties": {"type": ["string", "integer"]}}
        for name in ("requests", "limits")
    },
}

OVER: dict[str, Schema] = {
    "installation": {"pattern": "^[a-z][a-z0-9-]{0,30}$"},
    "images.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "images.pullSecrets": _SECRETS,
    "operator.replicas": {"minimum": 1, "maximum": 5},
    "operator.workers": {"minimum": 1, "maximum": 256},
    "operator.logLevel": {"enum": ["debug", "info", "warning", "error"]},
    "operator.lease.duration": {"minimum": 3, "maximum": 3600},
    "operator.lease.renewBy": {"minimum": 2},
    "operator.lease.retry": {"minimum": 1},
    "operator.nodeSelector": _TEXTS,
    "operator.tolerations": {"type": "array", "items": {"$ref": "#/$defs/Toleration"}},
    "operator.env": _TEXTS,
    "operator.podAnnotations": _TEXTS,
    "operator.timings": {"$ref": "#/$defs/Timings"},
    "operator.podFailures": {"minimum": 0, "maximum": 100},
    "operator.disruptions": {"minimum": 0, "maximum": 100},
    "operator.requeues": {"minimum": 0, "maximum": 100},
    "rbac.scope": {"enum": ["cluster", "namespaced"]},
    "taskNamespaces.name": {"pattern": _DNS, "maxLength": 63},
    "taskNamespaces.sources": {"type": "array", "items": {"type": "string"}},
    "taskNamespaces.outputs": {"type": "array", "items": {"type": "string"}},
    "taskNamespaces.secrets": {"type": "array", "items": {"$ref": "#/$defs/SecretUse"}},
    "taskNamespaces.imagePullSecrets": _SECRETS,
    "otherNamespaces.sources": {"type": "array", "items": {"type": "string"}},
    "otherNamespaces.outputs": {"type": "array", "items": {"type": "string"}},
    "profiles": {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"$ref": "#/$defs/Profile"},
        "propertyNames": {"pattern": _DNS},
    },
    "stageCatalogue": {
        "type": "object",
        "additionalProperties": {"$ref": "#/$defs/StageType"},
        "propertyNames": {"pattern": r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"},
    },
    "kafka.bootstrap": {"pattern": r"^([^,\s]+(,[^,\s]+)*)?$"},
    "kafka.security": {"enum": ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]},
    "kafka.mechanism": {"enum": ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]},
    "kafka.replication": {"minimum": -1},
    "kafka.partitionBudget": {"minimum": 1},
    "kafka.rawSegmentBytes": {"minimum": 2**20},
    "kafka.resultBytes": {"minimum": 2**20},
    "kafka.settings": {
        "type": "object",
        "propertyNames": {"pattern": "^[A-Z_]+$"},
        "additionalProperties": {"type": ["string", "integer"]},
    },
    "storage.root": {"pattern": r"^((s3|gs|az)://[^\s]+)?$"},
    "storage.dev.bucket": {"pattern": r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"},
    "api.spec": _FREE | {"not": {"required": ["source"]}},
    "api.publicUrl": {"pattern": r"^(https?://[^\s/]+(/\S*)?)?$"},
    "api.maxUploadBytes": {"minimum": 1},
    "api.replicas": {"minimum": 1},
    "api.port": {"minimum": 1, "maximum": 65535},
    "monitoring.serviceMonitor.labels": _TEXTS,
    "monitoring.prometheusRule.labels": _TEXTS,
    "monitoring.dashboard.labels": _TEXTS,
    "networkPolicy.dnsPorts": _PORTS,
    "uninstall.timeoutSeconds": {"minimum": 1},
}
for _kind in ("kafka", "storage", "source"):
    OVER[f"networkPolicy.{_kind}.ports"] = _PORTS
    OVER[f"networkPolicy.{_kind}.to"] = {"type": "array", "items": _FREE}
for _image in ("operator", "stage", "stageGpu", "api"):
    OVER[f"images.{_image}.digest"] = _DIGEST

OPTIONAL: dict[str, dict[str, Schema]] = {
    "taskNamespaces": {
        "maxTasks": {"type": "integer", "minimum": 1, "description": "Most admitted tasks at once."}
    }
}
"""Keys that have no default."""


def values_schema(values: Schema, words: dict[str, str]) -> Schema:
    """The whole schema.

    Args:
        values: The defaults.
        words: Comments, by path.

    Raises:
        ValueError: A key has no words, or an override has no key.
    """
    found = _Inferred(words)
    schema = found.schema(values, "")
    unused = sorted(set(OVER) - found.used)
    if unused:
        raise ValueError(f"no such keys in values.yaml: {', '.join(unused)}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of the PoseTask chart",
        "$comment": "Generated by scripts/generate-chart from values.yaml and the operator's settings.",
        **schema,
        "$defs": definitions(),
    }


class _Inferred:
    def __init__(self, words: dict[str, str]) -> None:
        self._words = words
        self.used: set[str] = set()

    def schema(self, value: Any, at: str) -> Schema:
        schema = self._of(value, at)
        if at in OVER:
            self.used.add(at)
            over = OVER[at]
            # A whole type replaces what the default shows of it; bounds are added.
            schema = dict(over) if {"type", "$ref"} & set(over) else schema | over
        return schema

    def _of(self, value: Any, at: str) -> Schema:
        if at.rpartition(".")[2] == "resources":
            return dict(_RESOURCES)
        if isinstance(value, dict):
            if at in OVER and {"type", "$ref"} & set(OVER[at]):
                return {}
            properties = {}
            for name, one in value.items():
                path = f"{at}.{name}" if at else name
                properties[name] = {"description": self._said(path, name), **self.schema(one, path)}
            properties |= OPTIONAL.get(at, {})
            return {"type": "object", "additionalProperties": False, "properties": properties}
        if isinstance(value, list):
            if at in OVER:
                return {"type": "array"}
            items = self.schema(value[0], at)
            return {"type": "array", "items": items | {"required": ["name"]}}
        kinds = {bool: "boolean", int: "integer", str: "string"}
        return {"type": kinds[type(value)]}

    def _said(self, path: str, name: str) -> str:
        words = self._words.get(path) or COMMON.get(name)
        if words is None:
            raise ValueError(f"values.yaml: {path} has no comment")
        return words


def definitions() -> dict[str, Schema]:
    """Models of the settings, in the chart's camel case."""
    found = Settings.model_json_schema()["$defs"]
    wanted = ("Profile", "StageType", "SecretUse", "Resources", "Toleration", "Timings")
    made = {name: _camel(found[name]) for name in wanted}
    made["StageType"].pop("required")  # an entry may be laid over a built-in type
    return made


def _camel(schema: Schema) -> Schema:
    plain = {name: value for name, value in schema.items() if name not in {"title", "default"}}
    plain = {name: _each(value) if name != "properties" else value for name, value in plain.items()}
    if "properties" in plain:
        plain["properties"] = {to_camel(name): _camel(field) for name, field in plain["properties"].items()}
    if "required" in plain:
        plain["required"] = [to_camel(name) for name in plain["required"]]
    return plain


def _each(value: Any) -> Any:
    if isinstance(value, dict):
        return _camel(value)
    if isinstance(value, list):
        return [_each(one) for one in value]
    return value
