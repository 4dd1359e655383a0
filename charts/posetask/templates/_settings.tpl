{{/* The operator's settings file: what posetask_operator.settings.Settings reads. */}}
{{- define "posetask.settings" -}}
{{- $root := . }}
{{- $settings := dict
  "installation" .Values.installation
  "namespace" .Release.Namespace
  "default_profile" .Values.defaultProfile
  "pod_failures" .Values.operator.podFailures
  "disruptions" .Values.operator.disruptions
  "requeues" .Values.operator.requeues
  "timings" (include "posetask.snake" .Values.operator.timings | fromJson) }}
{{- $profiles := dict }}
{{- range $name, $profile := .Values.profiles }}
{{- $_ := set $profiles $name (include "posetask.snake" $profile | fromJson) }}
{{- end }}
{{- $_ := set $settings "profiles" $profiles }}
{{- $_ := set $settings "stages" (include "posetask.stages" . | fromJson) }}
{{- $kafka := dict
  "bootstrap" (include "posetask.kafka.bootstrap" .)
  "env" (include "posetask.kafka.env" . | fromJson)
  "replication" .Values.kafka.replication
  "partition_budget" .Values.kafka.partitionBudget
  "raw_segment_bytes" .Values.kafka.rawSegmentBytes
  "result_bytes" .Values.kafka.resultBytes }}
{{- with .Values.kafka.existingSecret }}{{ $_ := set $kafka "secret" . }}{{ end }}
{{- $_ := set $settings "kafka" $kafka }}
{{- $namespaces := dict }}
{{- range .Values.taskNamespaces }}
{{- $secrets := .secrets | default list }}
{{- with include "posetask.storage.secret" $root }}{{ $secrets = prepend $secrets (dict "name" .) }}{{ end }}
{{- $sources := .sources | default list }}
{{- if and $root.Values.api.enabled (eq .name $root.Values.api.namespace) }}
{{- $sources = append $sources (printf "%s/%s/uploads/" (include "posetask.storage.root" $root) .name) }}
{{- end }}
{{- $grant := dict
  "sources" $sources
  "outputs" (.outputs | default list)
  "secrets" $secrets
  "service_account" "posetask-stage" }}
{{- with .maxTasks }}{{ $_ := set $grant "max_tasks" . }}{{ end }}
{{- $_ := set $namespaces .name $grant }}
{{- end }}
{{- $storage := dict "root" (include "posetask.storage.root" .) "namespaces" $namespaces "default" nil }}
{{- if .Values.otherNamespaces.enabled }}
{{- $secrets := list }}
{{- with include "posetask.storage.secret" . }}{{ $secrets = list (dict "name" .) }}{{ end }}
{{- $_ := set $storage "default" (dict
  "sources" .Values.otherNamespaces.sources "outputs" .Values.otherNamespaces.outputs
  "secrets" $secrets "service_account" "posetask-stage") }}
{{- end }}
{{- $_ := set $settings "storage" $storage }}
{{- toYaml $settings }}
{{- end }}

{{/* The catalogue: the built-in types, their images, and what the values lay over them; then the administrator's own. */}}
{{- define "posetask.stages" -}}
{{- $root := . }}
{{- $catalogue := .Files.Get "files/stages.yaml" | fromYaml }}
{{- $gpu := list "yolox" "rtmpose" "fused" }}
{{- range $name, $type := $catalogue }}
{{- $image := ternary "stageGpu" "stage" (and $root.Values.images.stageGpu.enabled (has $name $gpu)) }}
{{- $_ := set $type "image" (include "posetask.image" (list $root $image)) }}
{{- end }}
{{- range $name, $given := .Values.stageCatalogue }}
{{- $given := include "posetask.snake" $given | fromJson }}
{{- if hasKey $catalogue $name }}
{{- $_ := set $catalogue $name (mergeOverwrite (get $catalogue $name) $given) }}
{{- else if not (and $given.image $given.port) }}
{{- fail (printf "stageCatalogue.%s: a type of your own needs image and port" $name) }}
{{- else }}
{{- $_ := set $catalogue $name $given }}
{{- end }}
{{- end }}
{{- $catalogue | toJson }}
{{- end }}

{{/* How clients reach the brokers, without passwords: POSETASK_KAFKA_* of stages and operator. */}}
{{- define "posetask.kafka.env" -}}
{{- $env := dict "POSETASK_KAFKA_SECURITY" .Values.kafka.security }}
{{- if hasPrefix "sasl" .Values.kafka.security }}{{ $_ := set $env "POSETASK_KAFKA_MECHANISM" .Values.kafka.mechanism }}{{ end }}
{{- range $name, $value := .Values.kafka.settings }}
{{- $_ := set $env (printf "POSETASK_KAFKA_%s" $name) (toString $value) }}
{{- end }}
{{- $env | toJson }}
{{- end }}
