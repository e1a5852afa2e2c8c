{{/* An Ingress and an HTTPRoute. Takes `root`, `values` (with `ingress` and `httpRoute`), `name`, `service`, `port` and `paths`. */}}
{{- define "sluice.routes" -}}
{{- with .values.ingress }}
{{- if .enabled }}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ $.name }}
  namespace: {{ $.root.Release.Namespace }}
  labels:
    {{- include "sluice.labels" $.root | nindent 4 }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with .tlsSecret }}
  tls:
    - hosts: [{{ $.values.ingress.host | quote }}]
      secretName: {{ . }}
  {{- end }}
  rules:
    - host: {{ .host | quote }}
      http:
        paths:
          {{- range $.paths }}
          - path: {{ . }}
            pathType: {{ ternary "Prefix" "Exact" (hasSuffix "/" .) }}
            backend:
              service:
                name: {{ $.service }}
                port: { number: {{ $.port }} }
          {{- end }}
{{- end }}
{{- end }}
{{- with .values.httpRoute }}
{{- if .enabled }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: {{ $.name }}
  namespace: {{ $.root.Release.Namespace }}
  labels:
    {{- include "sluice.labels" $.root | nindent 4 }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  parentRefs:
    {{- toYaml .parentRefs | nindent 4 }}
  {{- with .hostnames }}
  hostnames:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    - matches:
        {{- range $.paths }}
        - path:
            type: {{ ternary "PathPrefix" "Exact" (hasSuffix "/" .) }}
            value: {{ . }}
        {{- end }}
      backendRefs:
        - name: {{ $.service }}
          port: {{ $.port }}
{{- end }}
{{- end }}
{{- end -}}
