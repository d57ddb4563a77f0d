{{/* What only the client has: its environment, its files, its ports, and where probes ask. */}}

{{/* The forwards of the values, and that of `helm test` if it has an echo. */}}
{{- define "sokken.client.forwards" -}}
{{- $forwards := .Values.client.forwards }}
{{- if .Values.helmTest.echo.enabled }}
{{- $echo := include "sokken.echo.address" . }}
{{- $target := dict "host" (trimSuffix ":7" $echo) "port" 7 }}
{{- $forwards = append $forwards (dict "name" "helm-test" "listenPort" .Values.helmTest.echo.listenPort "target" $target) }}
{{- end }}
{{- toYaml $forwards }}
{{- end }}

{{- define "sokken.client.env" -}}
{{- $url := trimSuffix "/" .Values.client.server.url -}}
- name: SOKKEN_READINESS
  value: {{ .Values.client.readiness }}
- name: SOKKEN_FORWARDS
  value: {{ range $index, $forward := include "sokken.client.forwards" . | fromYamlArray }}
    {{- $host := ternary (printf "[%s]" .target.host) .target.host (contains ":" .target.host) }}
    {{- if $index }},{{ else }}"{{ end }}{{ .name }}=:{{ .listenPort }}={{ $url }}/tunnel/{{ $host }}:{{ .target.port }}
  {{- end }}"
{{- end }}

{{/* All optional: a client without its Secret says so, is not ready, and goes on as soon as the Secret is there. */}}
{{- define "sokken.client.files" -}}
{{- with .Values.client }}
{{- if .token.existingSecret }}
- name: token
  variables: {SOKKEN_TOKEN_FILE: token}
  volume:
    {{- include "sokken.source" (dict "from" .token "items" (dict .token.key "token") "optional" true) | nindent 4 }}
{{- end }}
{{- with .serviceAccountToken }}
{{- if .audience }}
- name: token
  variables: {SOKKEN_TOKEN_FILE: token}
  volume:
    projected:
      defaultMode: 0440
      sources:
        - serviceAccountToken: {path: token, audience: {{ .audience | quote }}, expirationSeconds: {{ int .expirationSeconds }}}
{{- end }}
{{- end }}
{{- if or .ca.existingSecret .ca.existingConfigMap }}
- name: ca
  variables: {SOKKEN_CA_FILE: ca.crt}
  volume:
    {{- include "sokken.source" (dict "from" .ca "items" (dict .ca.key "ca.crt") "optional" true) | nindent 4 }}
{{- end }}
{{- if .clientCertificate.existingSecret }}
- name: certificate
  variables: {SOKKEN_CLIENT_CERT_FILE: tls.crt, SOKKEN_CLIENT_KEY_FILE: tls.key}
  volume:
    {{- include "sokken.source" (dict "from" .clientCertificate "items" (dict "tls.crt" "tls.crt" "tls.key" "tls.key") "optional" true) | nindent 4 }}
{{- end }}
{{- if .headers.existingSecret }}
- name: headers
  variables: {SOKKEN_HEADERS_FILE: headers}
  volume:
    {{- include "sokken.source" (dict "from" .headers "items" (dict .headers.key "headers") "optional" true) | nindent 4 }}
{{- end }}
{{- if .adminToken.existingSecret }}
- name: admin-token
  variables: {SOKKEN_ADMIN_TOKEN_FILE: token}
  volume:
    {{- include "sokken.source" (dict "from" .adminToken "items" (dict .adminToken.key "token")) | nindent 4 }}
{{- end }}
{{- end }}
{{- with include "sokken.telemetry.files" . }}
{{ . }}
{{- end }}
{{- end }}

{{- define "sokken.client.ports" -}}
- name: health
  containerPort: 8000
  protocol: TCP
{{- range include "sokken.client.forwards" . | fromYamlArray }}
- name: {{ .name }}
  containerPort: {{ .listenPort }}
  protocol: TCP
{{- end }}
{{- end }}

{{- define "sokken.client.probe" -}}
port: health
scheme: HTTP
{{- end }}
