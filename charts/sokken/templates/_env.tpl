{{/*
The environment of a program: what the chart decides, the files that are mounted, `settings`, `secretSettings`,
telemetry, and extraEnv last. Values are quoted as they are: nothing in them is expanded by the kubelet.
*/}}

{{- define "sokken.env" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 }}
{{- $values := index $root.Values $component -}}
- name: SOKKEN_API_ADDR
  value: ":8000"
- name: SOKKEN_ADMIN_ADDR
  value: ":19000"
- name: SOKKEN_ENDPOINT_DELAY_SECONDS
  value: {{ include "sokken.text" $values.endpointDelaySeconds }}
- name: SOKKEN_DRAIN_TIMEOUT_SECONDS
  value: {{ include "sokken.text" $values.drainTimeoutSeconds }}
{{- with include (printf "sokken.%s.env" $component) $root | trim }}
{{ . }}
{{- end }}
{{- range include (printf "sokken.%s.files" $component) $root | fromYamlArray }}
{{- $folder := .name }}
{{- range $variable, $file := .variables }}
- name: {{ $variable }}
  value: /etc/sokken/{{ $folder }}/{{ $file }}
{{- end }}
{{- end }}
{{- range $variable, $value := $values.settings }}
{{- if not (kindIs "invalid" $value) }}
- name: {{ $variable }}
  value: {{ include "sokken.text" $value }}
{{- end }}
{{- end }}
{{- range $variable, $reference := $values.secretSettings }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef:
      {{- toYaml $reference | nindent 6 }}
{{- end }}
{{- with include "sokken.telemetry.env" . }}
{{ . }}
{{- end }}
{{- with $values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A value as a variable holds it, quoted. Numbers by JSON: Helm has read them as floats, and would write 1e+06. */}}
{{- define "sokken.text" -}}
{{- $text := "" }}
{{- if kindIs "slice" . }}
{{- $text = join "," . }}
{{- else if kindIs "string" . }}
{{- $text = . }}
{{- else }}
{{- $text = toJson . }}
{{- end }}
{{- $text | replace "$(" "$$(" | toJson }}
{{- end }}

{{- define "sokken.telemetry.env" -}}
{{- $root := index . 0 }}
{{- with $root.Values.telemetry }}
{{- if .endpoint -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ include "sokken.text" .endpoint }}
{{- if .headers.existingSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ .headers.existingSecret }}
      key: {{ .headers.key }}
      # Without it the collector refuses, and tunnels go on.
      optional: true
{{- end }}
- name: OTEL_TRACES_SAMPLER
  value: {{ .sampler }}
{{- with .samplerArg }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ . | quote }}
{{- end }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: "k8s.namespace.name={{ $root.Release.Namespace }},k8s.pod.name=$(POD_NAME),k8s.node.name=$(NODE_NAME)
    {{- range $name, $value := .resourceAttributes }},{{ $name }}={{ $value }}{{ end }}"
{{- end }}
{{- end }}
{{- end }}

{{- define "sokken.telemetry.files" -}}
{{- with .Values.telemetry }}
{{- if and .endpoint (or .ca.existingSecret .ca.existingConfigMap) -}}
- name: collector-ca
  variables: {OTEL_EXPORTER_OTLP_CERTIFICATE: ca.crt}
  volume:
    {{- include "sokken.source" (dict "from" .ca "items" (dict .ca.key "ca.crt")) | nindent 4 }}
{{- end }}
{{- end }}
{{- end }}

{{/*
A volume from a Secret or a ConfigMap: from (its names), items (key to file), optional. Always a whole folder, because
a file that is mounted alone (subPath) never changes.
*/}}
{{- define "sokken.source" -}}
{{- if .from.existingSecret -}}
secret:
  secretName: {{ .from.existingSecret }}
{{- else -}}
configMap:
  name: {{ default .from.name .from.existingConfigMap }}
{{- end }}
  defaultMode: 0440
  {{- if .optional }}
  optional: true
  {{- end }}
  items:
    {{- range $key, $file := .items }}
    - {key: {{ $key | quote }}, path: {{ $file }}}
    {{- end }}
{{- end }}
