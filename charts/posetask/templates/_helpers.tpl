{{/* Names and labels. */}}
{{- define "posetask.fullname" -}}
{{- if contains "posetask" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-posetask" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "posetask.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: posetask
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Labels that select the pods of one component: list ROOT "operator". */}}
{{- define "posetask.selector" -}}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* An image: list ROOT "operator". */}}
{{- define "posetask.image" -}}
{{- $root := index . 0 }}{{ $image := index $root.Values.images (index . 1) -}}
{{- with $root.Values.images.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default $root.Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "posetask.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What the restricted pod security standard asks for: of a pod, and of a container. */}}
{{- define "posetask.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "posetask.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The brokers and the store: given, or those for development. */}}
{{- define "posetask.kafka.bootstrap" -}}
{{- if .Values.kafka.dev.enabled }}{{ include "posetask.fullname" . }}-kafka-dev.{{ .Release.Namespace }}.svc:9092
{{- else }}{{ .Values.kafka.bootstrap }}{{ end }}
{{- end }}

{{- define "posetask.storage.root" -}}
{{- if .Values.storage.dev.enabled }}s3://{{ .Values.storage.dev.bucket }}{{ else }}{{ .Values.storage.root | trimSuffix "/" }}{{ end }}
{{- end }}

{{- define "posetask.storage.secret" -}}
{{- if .Values.storage.dev.enabled }}{{ include "posetask.fullname" . }}-storage-dev{{ else }}{{ .Values.storage.existingSecret }}{{ end }}
{{- end }}

{{/* Secrets of one task namespace that the operator looks for: list ROOT NAMESPACE. Names as a JSON list. */}}
{{- define "posetask.secretNames" -}}
{{- $root := index . 0 }}{{ $names := list }}
{{- with $root.Values.kafka.existingSecret }}{{ $names = append $names . }}{{ end }}
{{- with include "posetask.storage.secret" $root }}{{ $names = append $names . }}{{ end }}
{{- range (index . 1).secrets }}{{ $names = append $names .name }}{{ end }}
{{- range $_, $type := $root.Values.stageCatalogue }}{{ range $type.secrets }}{{ $names = append $names .name }}{{ end }}{{ end }}
{{- $names | uniq | sortAlpha | toJson }}
{{- end }}

{{/* The keys of a map as the operator's settings have them; what lies below is taken as it is. */}}
{{- define "posetask.snake" -}}
{{- $out := dict }}{{ range $key, $value := . }}{{ $_ := set $out (snakecase $key) $value }}{{ end }}{{ $out | toJson }}
{{- end }}
