"""The CustomResourceDefinition of PoseTask, made from the models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import yaml

from posetask.spec.base import GROUP, KIND, NAME_LIMIT, PLURAL, VERSION
from posetask.spec.rules import RULES
from posetask.spec.spec import PoseTaskSpec
from posetask.spec.status import PoseTaskStatus
from posetask.spec.structural import Schema, immutable, rule, structural, transition_rules

SELECTABLE: Final = (
    ".spec.execution.mode",
    ".spec.scheduling.profile",
    ".status.reason",
    ".status.run",
    ".status.state",
)
"""Fields that ``--field-selector`` and watches can select by."""

# Name, type, path, and whether it is shown only with `-o wide`.
_COLUMNS: Final = (
    ("State", "string", ".status.state", False, "Where the task is."),
    ("Progress", "string", ".status.progress.summary", False, "How far it is."),
    ("Ready", "string", ".status.ready", False, "Stages ready or complete, of all."),
    ("FPS", "string", ".status.progress.fps", False, "Frames annotated a second of late."),
    ("Age", "date", ".metadata.creationTimestamp", False, "Since it was made."),
    ("Queue", "integer", ".status.queue.position", True, "Place in the queue; 1 is next."),
    ("Restarts", "integer", ".status.restarts", True, "Pods that were started anew."),
    ("Reason", "string", ".status.reason", True, "Why it is in this state, as one word."),
    ("Message", "string", ".status.message", True, "Why, in a sentence, and what to do next."),
)

_ABOUT = (
    "A video to be turned into tracked human poses: an annotated video, and the poses as data. "
    "The operator gives the task its Kafka topics and a Job for each stage, says in the status how far it "
    "is, and takes everything but the result away after the end."
)


def spec_schema() -> Schema:
    """``spec``, with the rules between its fields and those of what may change."""
    schema = structural(PoseTaskSpec)
    schema["x-kubernetes-validations"] = [
        *(rule(one.cel, one.message, one.field) for one in RULES),
        *transition_rules(PoseTaskSpec),
    ]
    return schema


def changeable() -> frozenset[str]:
    """Paths below ``spec`` of what may change during the life of a task."""
    fixed = {".".join(path) for path in immutable(PoseTaskSpec)}
    return frozenset(_leaves(structural(PoseTaskSpec), "")) - fixed - {"stages"}


def _leaves(schema: Schema, at: str) -> Iterator[str]:
    for name, field in schema["properties"].items():
        if "properties" in field:
            yield from _leaves(field, f"{at}{name}.")
        else:
            yield f"{at}{name}"


def root_schema() -> Schema:
    """The whole object; what stands of ``metadata`` in a rule is its name alone."""
    short = (
        f"metadata.name has at most {NAME_LIMIT} letters, digits and dashes, and no dots: "
        "topics and Jobs are named by it"
    )
    return {
        "description": _ABOUT,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {
                "description": f"Group and version of the schema: {GROUP}/{VERSION}.",
                "type": "string",
            },
            "kind": {"description": f"Kind of the object: {KIND}.", "type": "string"},
            "metadata": {"type": "object"},
            "spec": spec_schema(),
            "status": structural(PoseTaskStatus),
        },
        "x-kubernetes-validations": [
            rule(f"size(self.metadata.name) <= {NAME_LIMIT} && !self.metadata.name.contains('.')", short)
        ],
    }


def _column(name: str, kind: str, path: str, wide: bool, description: str) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return column | {"priority": 1} if wide else column


def custom_resource_definition() -> dict[str, Any]:
    """The manifest.

    >>> custom_resource_definition()["metadata"]["name"]
    'posetasks.posetask.io'
    """
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["pt"],
                "categories": ["all"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(*one) for one in _COLUMNS],
                    "selectableFields": [{"jsonPath": path} for path in SELECTABLE],
                    "schema": {"openAPIV3Schema": root_schema()},
                }
            ],
        },
    }


class _Dumper(yaml.SafeDumper):
    """Plain YAML: lists indented, nothing shared by anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent lists below their key, as Kubernetes' own files do not, but people do."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        """Write a part that occurs twice out twice."""
        return True


def text() -> str:
    """The manifest as a file; always the same bytes for the same models."""
    head = "# Generated by scripts/generate-crds from src/posetask/spec; do not edit.\n"
    manifest = custom_resource_definition()
    return head + yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
