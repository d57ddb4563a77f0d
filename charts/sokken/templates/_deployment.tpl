{{/*
One Deployment for server and client alike. A component brings three parts of its own, each a list in YAML:
sokken.COMPONENT.files (what is mounted), sokken.COMPONENT.env, sokken.COMPONENT.ports; and sokken.COMPONENT.probe.
*/}}

{{- define "sokken.deployment" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 }}
{{- $values := index $root.Values $component }}
{{- $files := include (printf "sokken.%s.files" $component) $root | fromYamlArray -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "sokken.metadata" . | nindent 2 }}
  {{- with $values.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- if not $values.autoscaling.enabled }}
  replicas: {{ $values.replicas }}
  {{- end }}
  minReadySeconds: 5
  revisionHistoryLimit: 3
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 0
      maxSurge: 25%
  selector:
    matchLabels:
      {{- include "sokken.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "sokken.podLabels" . | nindent 8 }}
        {{- with $values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ include "sokken.serviceAccountName" . }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      # The delay, the drain, 5 seconds for telemetry and 10 to spare.
      terminationGracePeriodSeconds: {{ include "sokken.graceSeconds" . }}
      {{- with $root.Values.global.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- toYaml $values.podSecurityContext | nindent 8 }}
      containers:
        - name: {{ $component }}
          image: {{ include "sokken.image" $root }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args: [{{ $component }}]
          env:
            {{- include "sokken.env" . | trim | nindent 12 }}
          {{- with $values.extraEnvFrom }}
          envFrom:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          ports:
            {{- include (printf "sokken.%s.ports" $component) $root | nindent 12 }}
            - name: admin
              containerPort: 19000
              protocol: TCP
          startupProbe:
            {{- include "sokken.probe" (list $root $component "startupProbe" "/livez") | nindent 12 }}
          livenessProbe:
            {{- include "sokken.probe" (list $root $component "livenessProbe" "/livez") | nindent 12 }}
          readinessProbe:
            {{- include "sokken.probe" (list $root $component "readinessProbe" "/readyz") | nindent 12 }}
          {{- with $values.lifecycle }}
          lifecycle:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          securityContext:
            {{- toYaml $values.securityContext | nindent 12 }}
          {{- with $values.resources }}
          resources:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          volumeMounts:
            - name: tmp
              mountPath: /tmp
            {{- range $files }}
            - name: {{ .name }}
              mountPath: /etc/sokken/{{ .name }}
              readOnly: true
            {{- end }}
            {{- with $values.extraVolumeMounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
        {{- with $values.extraContainers }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      volumes:
        - name: tmp
          emptyDir:
            sizeLimit: 64Mi
        {{- range $files }}
        - {{ toYaml (merge (dict "name" .name) .volume) | nindent 10 | trim }}
        {{- end }}
        {{- with $values.extraVolumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- include "sokken.placement" . | trim | nindent 6 }}
{{- end }}

{{- define "sokken.graceSeconds" -}}
{{- $values := index (index . 0).Values (index . 1) }}
{{- add (ceil $values.endpointDelaySeconds) (ceil $values.drainTimeoutSeconds) 15 }}
{{- end }}

{{/* (list $ component "livenessProbe" "/livez") */}}
{{- define "sokken.probe" -}}
{{- $root := index . 0 -}}
httpGet:
  {{- include (printf "sokken.%s.probe" (index . 1)) $root | nindent 2 }}
  path: {{ index . 3 }}
{{ toYaml (index (index $root.Values (index . 1)) (index . 2)) }}
{{- end }}

{{- define "sokken.placement" -}}
{{- $values := index (index . 0).Values (index . 1) }}
{{- range $key := tuple "nodeSelector" "tolerations" "affinity" "priorityClassName" "runtimeClassName" "hostAliases" "dnsPolicy" "dnsConfig" }}
{{- with index $values $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
topologySpreadConstraints:
  {{- with $values.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  - topologyKey: kubernetes.io/hostname
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "sokken.selectorLabels" . | nindent 8 }}
  {{- end }}
{{- end }}
