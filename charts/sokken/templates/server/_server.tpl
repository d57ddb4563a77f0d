{{/* What only the server has: its environment, its files, its port, and where probes ask. */}}

{{- define "sokken.server.env" -}}
{{- with .Values.server }}
{{- $targets := .targets }}
{{- if and $.Values.helmTest.echo.enabled (not .policy) }}
{{- $targets = append $targets (include "sokken.echo.address" $) }}
{{- end }}
{{- if and $targets (not .policy) (not .existingPolicyConfigMap.name) }}
- name: SOKKEN_TARGETS
  value: {{ include "sokken.text" $targets }}
{{- end }}
{{- with .basePath }}
- name: SOKKEN_BASE_PATH
  value: {{ include "sokken.text" . }}
{{- end }}
{{- with .jwt.issuer }}
- name: SOKKEN_JWT_ISSUER
  value: {{ include "sokken.text" . }}
{{- end }}
{{- with .jwt.audience }}
- name: SOKKEN_JWT_AUDIENCE
  value: {{ include "sokken.text" . }}
{{- end }}
{{- with .jwt.jwksURL }}
- name: SOKKEN_JWT_JWKS_URL
  value: {{ include "sokken.text" . }}
{{- end }}
{{- end }}
{{- end }}

{{/*
A Secret that is missing keeps a server's pod from starting, and the kubelet's event names it; the old pods go on. It
is not optional, because a server that should protect itself and cannot would only end with exit code 3.
*/}}
{{- define "sokken.server.files" -}}
{{- with .Values.server }}
{{- if or .policy .existingPolicyConfigMap.name }}
{{- $name := default (printf "%s-policy" (include "sokken.componentName" (list $ "server"))) .existingPolicyConfigMap.name }}
- name: policy
  variables: {SOKKEN_POLICY_FILE: policy.yaml}
  volume:
    {{- include "sokken.source" (dict "from" (dict "name" $name) "items" (dict (ternary "policy.yaml" .existingPolicyConfigMap.key (empty .existingPolicyConfigMap.name)) "policy.yaml")) | nindent 4 }}
{{- end }}
{{- if .tls.existingSecret }}
- name: tls
  variables: {SOKKEN_TLS_CERT_FILE: tls.crt, SOKKEN_TLS_KEY_FILE: tls.key}
  volume:
    {{- include "sokken.source" (dict "from" .tls "items" (dict "tls.crt" "tls.crt" "tls.key" "tls.key")) | nindent 4 }}
{{- end }}
{{- if .tokens.existingSecret }}
- name: tokens
  variables: {SOKKEN_TOKENS_FILE: tokens}
  volume:
    {{- include "sokken.source" (dict "from" .tokens "items" (dict .tokens.key "tokens")) | nindent 4 }}
{{- end }}
{{- if or .clientCA.existingSecret .clientCA.existingConfigMap }}
- name: client-ca
  variables: {SOKKEN_CLIENT_CA_FILE: ca.crt}
  volume:
    {{- include "sokken.source" (dict "from" .clientCA "items" (dict .clientCA.key "ca.crt")) | nindent 4 }}
{{- end }}
{{- if or .jwt.jwks.existingSecret .jwt.jwks.existingConfigMap }}
- name: jwks
  variables: {SOKKEN_JWT_JWKS_FILE: jwks.json}
  volume:
    {{- include "sokken.source" (dict "from" .jwt.jwks "items" (dict .jwt.jwks.key "jwks.json")) | nindent 4 }}
{{- end }}
{{- if or .jwt.ca.existingSecret .jwt.ca.existingConfigMap }}
- name: jwks-ca
  variables: {SOKKEN_JWT_JWKS_CA_FILE: ca.crt}
  volume:
    {{- include "sokken.source" (dict "from" .jwt.ca "items" (dict .jwt.ca.key "ca.crt")) | nindent 4 }}
{{- end }}
{{- if .jwt.token.existingSecret }}
- name: jwks-token
  variables: {SOKKEN_JWT_JWKS_TOKEN_FILE: token}
  volume:
    {{- include "sokken.source" (dict "from" .jwt.token "items" (dict .jwt.token.key "token")) | nindent 4 }}
{{- end }}
{{- if .adminToken.existingSecret }}
- name: admin-token
  variables: {SOKKEN_ADMIN_TOKEN_FILE: token}
  volume:
    {{- include "sokken.source" (dict "from" .adminToken "items" (dict .adminToken.key "token")) | nindent 4 }}
{{- end }}
{{- if eq (include "sokken.server.asksCluster" $) "true" }}
# What the API server's keys are fetched with, instead of a token that is mounted for every purpose.
- name: cluster
  variables:
    {{- if not .jwt.token.existingSecret }}
    SOKKEN_JWT_JWKS_TOKEN_FILE: token
    {{- end }}
    {{- if not (or .jwt.ca.existingSecret .jwt.ca.existingConfigMap) }}
    SOKKEN_JWT_JWKS_CA_FILE: ca.crt
    {{- end }}
  volume:
    projected:
      defaultMode: 0440
      sources:
        - serviceAccountToken: {path: token, expirationSeconds: 3600}
        - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}
{{- end }}
{{- with include "sokken.telemetry.files" . }}
{{ . }}
{{- end }}
{{- end }}

{{/* Whether the keys for JWTs are this cluster's own, and something is needed to ask for them. */}}
{{- define "sokken.server.asksCluster" -}}
{{- with .Values.server.jwt }}
{{- and (regexMatch "^https://kubernetes\\.default\\.svc(\\.[a-z0-9.-]+)?(:[0-9]+)?(/|$)" .jwksURL) (not (and .token.existingSecret (or .ca.existingSecret .ca.existingConfigMap))) }}
{{- end }}
{{- end }}

{{- define "sokken.server.ports" -}}
- name: {{ include "sokken.server.scheme" . }}
  containerPort: 8000
  protocol: TCP
{{- end }}

{{/*
At the tunnels' port, because that is what has to work; unless a kubelet could not ask there: it sends no PROXY
protocol, and would be counted where connections over TLS are.
*/}}
{{- define "sokken.server.probe" -}}
{{- $settings := .Values.server.settings }}
{{- $tls := not (empty .Values.server.tls.existingSecret) }}
{{- if or (eq (get $settings "SOKKEN_PROXY_PROTOCOL" | toString) "required") (and $tls (get $settings "SOKKEN_HANDSHAKE_RATE_PER_ADDRESS")) -}}
port: admin
scheme: HTTP
{{- else -}}
port: {{ include "sokken.server.scheme" . }}
scheme: {{ include "sokken.server.scheme" . | upper }}
{{- end }}
{{- end }}
