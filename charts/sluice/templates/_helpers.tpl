{{- define "sluice.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of objects; short enough for the suffixes that follow it. */}}
{{- define "sluice.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "sluice.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "sluice.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Name of objects outside namespaces. A namespace has no dot, so two installations never meet. */}}
{{- define "sluice.clusterName" -}}
{{- printf "%s.%s" (include "sluice.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "sluice.selector" -}}
app.kubernetes.io/name: {{ include "sluice.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sluice.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "sluice.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: sluice
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The pods that answer devices. */}}
{{- define "sluice.deviceComponent" -}}
{{- ternary "gateway" "operator" .Values.gateway.separate -}}
{{- end -}}

{{- define "sluice.operatorAccount" -}}
{{- $made := include "sluice.fullname" . -}}
{{- if .Values.operator.serviceAccount.create -}}
{{- .Values.operator.serviceAccount.name | default $made -}}
{{- else -}}
{{- required "operator.serviceAccount.name is needed while operator.serviceAccount.create is false" .Values.operator.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "sluice.gatewayAccount" -}}
{{- $made := printf "%s-gateway" (include "sluice.fullname" .) -}}
{{- if .Values.gateway.serviceAccount.create -}}
{{- .Values.gateway.serviceAccount.name | default $made -}}
{{- else -}}
{{- required "gateway.serviceAccount.name is needed while gateway.serviceAccount.create is false" .Values.gateway.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "sluice.image" -}}
{{- $image := .Values.image -}}
{{- $name := printf "%s/%s" (trimSuffix "/" $image.registry) $image.repository | trimPrefix "/" -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Whether data is kept on a claim: not where several pods would share it. */}}
{{- define "sluice.claim" -}}
{{- if and .Values.persistence.enabled (le (int .Values.operator.replicas) 1) -}}
{{- .Values.persistence.existingClaim | default (printf "%s-data" (include "sluice.fullname" .)) -}}
{{- end -}}
{{- end -}}

{{- define "sluice.devicesPort" -}}
{{- if .Values.devices.service.port -}}
{{- .Values.devices.service.port | int -}}
{{- else -}}
{{- ternary 443 80 (ne .Values.devices.tls.existingSecret "") -}}
{{- end -}}
{{- end -}}

{{/*
How devices reach the server: as told, else through the routes of this chart, else from within the cluster. A route for every
name of a domain does not say which one devices use.
*/}}
{{- define "sluice.publicUrl" -}}
{{- $devices := .Values.devices -}}
{{- if $devices.publicUrl -}}
{{- $devices.publicUrl | trimSuffix "/" -}}
{{- else if and $devices.ingress.enabled (not (contains "*" $devices.ingress.host)) -}}
{{- printf "%s://%s" (ternary "https" "http" (ne $devices.ingress.tlsSecret "")) $devices.ingress.host -}}
{{- else if and $devices.httpRoute.enabled (not (contains "*" (first $devices.httpRoute.hostnames | default "*"))) -}}
{{- printf "https://%s" (first $devices.httpRoute.hostnames) -}}
{{- else -}}
{{- include "sluice.insideUrl" . -}}
{{- end -}}
{{- end -}}

{{- define "sluice.insideUrl" -}}
{{- $port := include "sluice.devicesPort" . -}}
{{- $host := printf "%s.%s.svc" (include "sluice.fullname" .) .Release.Namespace -}}
{{- if .Values.devices.tls.existingSecret -}}
{{- printf "https://%s%s" $host (ternary "" (printf ":%s" $port) (eq $port "443")) -}}
{{- else -}}
{{- printf "http://%s%s" $host (ternary "" (printf ":%s" $port) (eq $port "80")) -}}
{{- end -}}
{{- end -}}

{{/* Namespaces that get a Role each, as a JSON list. */}}
{{- define "sluice.namespaces" -}}
{{- if .Values.namespaces -}}
{{- .Values.namespaces | uniq | toJson -}}
{{- else if .Values.rbac.namespaced -}}
{{- list .Release.Namespace | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{/* Refuses values that cannot work together, and says which value to set. */}}
{{- define "sluice.check" -}}
{{- $v := .Values -}}
{{- if gt (int $v.operator.replicas) 1 -}}
  {{- if not $v.gateway.separate -}}
    {{- fail "operator.replicas is more than 1: set gateway.separate=true, because replicas of the operator do not answer devices" -}}
  {{- end -}}
  {{- if not $v.store.url -}}
    {{- fail "operator.replicas is more than 1: set store.url to an object store (s3://, gs://, az://) that all replicas share" -}}
  {{- end -}}
  {{- if not $v.database.existingSecret -}}
    {{- fail "operator.replicas is more than 1: set database.existingSecret to a Secret with the postgres:// URL of the fleet store" -}}
  {{- end -}}
{{- end -}}
{{- if and $v.gateway.separate (not $v.store.url) -}}
  {{- fail "gateway.separate is true: set store.url to an object store (s3://, gs://, az://) that the operator and the gateways share" -}}
{{- end -}}
{{- if and $v.gateway.presign (not $v.gateway.separate) -}}
  {{- fail "gateway.presign is set: set gateway.separate=true, because only gateways with an object store redirect downloads" -}}
{{- end -}}
{{- if and $v.gateway.presign $v.devices.downloadUrl -}}
  {{- fail "gateway.presign and devices.downloadUrl are both set: set one, downloads come from one place" -}}
{{- end -}}
{{- if and $v.devices.ingress.enabled (not $v.devices.ingress.host) -}}
  {{- fail "devices.ingress.enabled is true: set devices.ingress.host" -}}
{{- end -}}
{{- if and $v.devices.httpRoute.enabled (not $v.devices.httpRoute.parentRefs) -}}
  {{- fail "devices.httpRoute.enabled is true: set devices.httpRoute.parentRefs to the Gateways" -}}
{{- end -}}
{{- if and $v.hooks.ingress.enabled (not $v.hooks.ingress.host) -}}
  {{- fail "hooks.ingress.enabled is true: set hooks.ingress.host" -}}
{{- end -}}
{{- if and $v.hooks.httpRoute.enabled (not $v.hooks.httpRoute.parentRefs) -}}
  {{- fail "hooks.httpRoute.enabled is true: set hooks.httpRoute.parentRefs to the Gateways" -}}
{{- end -}}
{{- end -}}
