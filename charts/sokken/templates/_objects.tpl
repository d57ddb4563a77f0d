{{/* The small objects that server and client have alike, each given (list $ "server"). */}}

{{- define "sokken.serviceAccount" -}}
{{- $root := index . 0 }}
{{- $account := (index $root.Values (index . 1)).serviceAccount -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "sokken.serviceAccountName" . }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "sokken.labels" . | nindent 4 }}
  {{- with $account.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}

{{/* With one pod it would only keep nodes from being drained. */}}
{{- define "sokken.podDisruptionBudget" -}}
{{- $values := index (index . 0).Values (index . 1) }}
{{- $least := ternary $values.autoscaling.minReplicas $values.replicas $values.autoscaling.enabled | int }}
{{- if and $values.podDisruptionBudget.enabled (gt $least 1) -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "sokken.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ $values.podDisruptionBudget.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "sokken.selectorLabels" . | nindent 6 }}
{{- end }}
{{- end }}

{{- define "sokken.horizontalPodAutoscaler" -}}
{{- with (index (index . 0).Values (index . 1)).autoscaling -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "sokken.metadata" $ | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "sokken.componentName" $ }}
  minReplicas: {{ .minReplicas }}
  maxReplicas: {{ .maxReplicas }}
  metrics:
    {{- with .targetCPUUtilizationPercentage }}
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ . }}
    {{- end }}
    {{- with .metrics }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .behavior }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* (list $ "server" (list PORT…)): the ports that are for everybody. Nodes always reach their pods, probes too. */}}
{{- define "sokken.networkPolicy" -}}
{{- $root := index . 0 }}
{{- with (index $root.Values (index . 1)).networkPolicy -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "sokken.metadata" $ | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "sokken.selectorLabels" $ | nindent 6 }}
  policyTypes:
    - Ingress
    {{- if .egress }}
    - Egress
    {{- end }}
  ingress:
    - ports:
        {{- range index $ 2 }}
        - {port: {{ . }}, protocol: TCP}
        {{- end }}
      {{- with .from }}
      from:
        {{- toYaml . | nindent 8 }}
        {{- if $root.Values.helmTest.enabled }}
        - podSelector:
            matchLabels:
              {{- include "sokken.selectorLabels" (list $root "test") | nindent 14 }}
        {{- end }}
      {{- end }}
    {{- with .adminFrom }}
    - ports:
        - {port: admin, protocol: TCP}
      from:
        {{- toYaml . | nindent 8 }}
    {{- end }}
  {{- with .egress }}
  egress:
    - ports:
        - {port: 53, protocol: UDP}
        - {port: 53, protocol: TCP}
    {{- if and $root.Values.helmTest.echo.enabled (eq (index $ 1) "server") }}
    - to:
        - podSelector:
            matchLabels:
              {{- include "sokken.selectorLabels" (list $root "echo") | nindent 14 }}
    {{- end }}
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The Service's metadata and what it may have beside its ports. */}}
{{- define "sokken.service" -}}
{{- $service := (index (index . 0).Values (index . 1)).service -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "sokken.metadata" . | nindent 2 }}
    {{- with $service.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with index . 2 }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ $service.type }}
  {{- range $key := tuple "loadBalancerClass" "loadBalancerSourceRanges" "externalTrafficPolicy" "ipFamilyPolicy" "trafficDistribution" }}
  {{- with index $service $key }}
  {{ $key }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  selector:
    {{- include "sokken.selectorLabels" . | nindent 4 }}
{{- end }}
