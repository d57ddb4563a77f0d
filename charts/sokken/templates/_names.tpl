{{/*
What things are called. A component (server, client, echo, test) is given as (list $ "server").
*/}}

{{- define "sokken.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* The longest suffix is "-server-metrics"; a Service's name has 63 characters at most. */}}
{{- define "sokken.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 46 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 46 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 46 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "sokken.componentName" -}}
{{- printf "%s-%s" (include "sokken.fullname" (index . 0)) (index . 1) }}
{{- end }}

{{- define "sokken.serviceAccountName" -}}
{{- $account := (index (index . 0).Values (index . 1)).serviceAccount }}
{{- if $account.create }}
{{- default (include "sokken.componentName" .) $account.name }}
{{- else }}
{{- default "default" $account.name }}
{{- end }}
{{- end }}

{{/* What never changes: Deployments are found by it. */}}
{{- define "sokken.selectorLabels" -}}
app.kubernetes.io/name: {{ include "sokken.name" (index . 0) }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* A pod's labels have no version: a new chart with the same pods must not roll them, live connections and all. */}}
{{- define "sokken.podLabels" -}}
{{ include "sokken.selectorLabels" . }}
app.kubernetes.io/part-of: sokken
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
{{- with (index . 0).Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sokken.labels" -}}
{{ include "sokken.podLabels" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "sokken.metadata" -}}
name: {{ include "sokken.componentName" . }}
namespace: {{ (index . 0).Release.Namespace }}
labels:
  {{- include "sokken.labels" . | nindent 2 }}
{{- end }}

{{- define "sokken.image" -}}
{{- $image := .Values.image }}
{{- with default .Values.global.imageRegistry $image.registry }}{{ trimSuffix "/" . }}/{{ end }}
{{- $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default .Chart.AppVersion $image.tag }}{{ end }}
{{- end }}

{{/* What the server speaks at its port. */}}
{{- define "sokken.server.scheme" -}}
{{- ternary "https" "http" (not (empty .Values.server.tls.existingSecret)) }}
{{- end }}

{{- define "sokken.server.port" -}}
{{- default (ternary 443 80 (not (empty .Values.server.tls.existingSecret))) .Values.server.service.port | int }}
{{- end }}

{{- define "sokken.echo.address" -}}
{{ include "sokken.componentName" (list . "echo") }}.{{ .Release.Namespace }}.svc:7
{{- end }}
