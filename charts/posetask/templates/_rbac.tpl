{{/* What the operator does to tasks, wherever it may. */}}
{{- define "posetask.work" -}}
- apiGroups: [posetask.io]
  resources: [posetasks]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [posetask.io]
  resources: [posetasks/status]
  verbs: [update]
- apiGroups: [posetask.io]
  resources: [posetasks/finalizers] # to own Jobs that hold a task back while they go
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}
