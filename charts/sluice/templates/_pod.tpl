{{/* What the Pod Security level `restricted` asks of a pod and of a container. */}}
{{- define "sluice.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.runAs.user }}
runAsUser: {{ int . }}
{{- end }}
{{- with .Values.runAs.group }}
runAsGroup: {{ int . }}
fsGroup: {{ int . }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "sluice.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* The first start may read a large store; after it, an answer is a matter of milliseconds. */}}
{{- define "sluice.probes" -}}
startupProbe:
  httpGet: { path: /healthz, port: admin }
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: { path: /healthz, port: admin }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /readyz, port: admin }
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end -}}

{{/* Where pods may run. Takes `values` (of the role), `component`, `spread` (whether there are several), `root`. */}}
{{- define "sluice.placement" -}}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- if .values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml .values.topologySpreadConstraints | nindent 2 }}
{{- else if .spread }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "sluice.selector" $.root | nindent 8 }}
        app.kubernetes.io/component: {{ $.component }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Arguments for answering devices. */}}
{{- define "sluice.deviceArgs" -}}
{{- $devices := .Values.devices -}}
- --listen={{ .Values.bindAddress }}:8080
- --public-url={{ include "sluice.publicUrl" . }}
{{- with $devices.downloadUrl }}
- --download-url={{ . }}
{{- end }}
{{- with $devices.trustedProxies }}
- --trusted-proxies={{ join "," . }}
{{- end }}
- --max-connections={{ int $devices.maxConnections }}
{{- if $devices.tls.existingSecret }}
- --tls-cert-file=/etc/sluice/tls/tls.crt
- --tls-key-file=/etc/sluice/tls/tls.key
{{- end }}
{{- end -}}

{{/* Access to the object store, and what a role adds. Takes `root` and `extra`. */}}
{{- define "sluice.environment" -}}
{{- with .root.Values.store.existingSecret }}
envFrom:
  - secretRef:
      name: {{ . }}
{{- end }}
{{- with concat .root.Values.store.env .extra }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
