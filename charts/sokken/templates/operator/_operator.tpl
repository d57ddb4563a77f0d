{{/* What only the operator has: its environment, its files, its ports, and where probes ask. */}}

{{- define "sokken.operator.env" -}}
- name: SOKKEN_OPERATOR_POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: SOKKEN_OPERATOR_LEASE_NAME
  value: {{ include "sokken.componentName" (list $ "operator") }}
- name: SOKKEN_OPERATOR_LEASE_NAMESPACE
  value: {{ .Release.Namespace }}
- name: SOKKEN_OPERATOR_IMAGE
  value: {{ include "sokken.image" . | include "sokken.text" }}
- name: SOKKEN_OPERATOR_IMAGE_PULL_POLICY
  value: {{ .Values.image.pullPolicy }}
{{- with .Values.global.imagePullSecrets }}
{{- $names := list }}
{{- range . }}
{{- $names = append $names .name }}
{{- end }}
- name: SOKKEN_OPERATOR_IMAGE_PULL_SECRETS
  value: {{ include "sokken.text" $names }}
{{- end }}
{{- with .Values.operator }}
{{- with .watchNamespaces }}
- name: SOKKEN_OPERATOR_WATCH_NAMESPACES
  value: {{ include "sokken.text" . }}
{{- end }}
- name: SOKKEN_OPERATOR_MAX_CONCURRENT_ROLLOUTS
  value: {{ include "sokken.text" .maxConcurrentRollouts }}
- name: SOKKEN_OPERATOR_NETWORK_POLICIES
  value: {{ include "sokken.text" .rbac.networkPolicies }}
- name: SOKKEN_OPERATOR_POD_MONITORS
  value: {{ include "sokken.text" .rbac.podMonitors }}
{{- end }}
{{- end }}

{{/* The ServiceAccount's token in a volume of its own: no other container of the pod gets it. */}}
{{- define "sokken.operator.files" -}}
- name: api-access
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  volume:
    projected:
      defaultMode: 0440
      sources:
        - serviceAccountToken: {path: token, expirationSeconds: 3607}
        - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
        - downwardAPI: {items: [{path: namespace, fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}]}
{{- with .Values.operator.adminToken }}
{{- if .existingSecret }}
- name: admin-token
  variables: {SOKKEN_ADMIN_TOKEN_FILE: token}
  volume:
    {{- include "sokken.source" (dict "from" . "items" (dict .key "token")) | nindent 4 }}
{{- end }}
{{- end }}
{{- with include "sokken.telemetry.files" . }}
{{ . }}
{{- end }}
{{- end }}

{{- define "sokken.operator.ports" -}}
- name: health
  containerPort: 8000
  protocol: TCP
{{- end }}

{{- define "sokken.operator.probe" -}}
port: health
scheme: HTTP
{{- end }}

{{/* What it may do with Tunnels and their children, wherever that holds. */}}
{{- define "sokken.operator.rules" -}}
{{- $children := list "get" "list" "watch" "create" "patch" "delete" -}}
- apiGroups: [sokken.dev]
  resources: [tunnels]
  verbs: [get, list, watch]
- apiGroups: [sokken.dev]
  resources: [tunnels/status]
  verbs: [patch]
# Where owners may only be set by who may change their finalizers (OpenShift).
- apiGroups: [sokken.dev]
  resources: [tunnels/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: {{ toJson $children }}
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: {{ toJson $children }}
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: {{ toJson $children }}
{{- if .Values.operator.rbac.networkPolicies }}
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: {{ toJson $children }}
{{- end }}
{{- if .Values.operator.rbac.podMonitors }}
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: {{ toJson $children }}
{{- end }}
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{- define "sokken.operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "sokken.serviceAccountName" (list . "operator") }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{/* The name of what belongs to the whole cluster: releases in two namespaces may have the same name. */}}
{{- define "sokken.operator.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "sokken.componentName" (list . "operator")) }}
{{- end }}
