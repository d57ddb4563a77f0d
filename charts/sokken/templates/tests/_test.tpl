{{/* What `helm test` and its echo have alike. */}}

{{- define "sokken.test.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.helmTest.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.helmTest.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: scripts
    configMap:
      name: {{ include "sokken.fullname" . }}-test
{{- end }}

{{- define "sokken.test.container" -}}
image: {{ include "sokken.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources:
  {{- toYaml .Values.helmTest.resources | nindent 2 }}
volumeMounts:
  - name: scripts
    mountPath: /test
    readOnly: true
{{- end }}
