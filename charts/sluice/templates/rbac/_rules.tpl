{{/* What the operator does with objects in a watched namespace. Secrets are read by name, never listed. */}}
{{- define "sluice.rules" -}}
- apiGroups: [sluice.dev]
  resources: [repositories]
  verbs: [list, watch]
- apiGroups: [sluice.dev]
  resources: [releases, channels]
  verbs: [list, watch{{ if .Values.operator.apply }}, create, patch, delete{{ end }}]
- apiGroups: [sluice.dev]
  resources: [rollbacks]
  verbs: [list, watch, create]
- apiGroups: [sluice.dev]
  resources: [repositories/status, releases/status, channels/status, rollbacks/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [get, create, patch]
{{- end -}}

{{- define "sluice.reviewRules" -}}
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
{{- end -}}
