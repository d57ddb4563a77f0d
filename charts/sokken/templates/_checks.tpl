{{/*
What the schema cannot say: values that exclude each other, or need each other. Each is one sentence that names the
keys; all of them are told at once.
*/}}

{{- define "sokken.checks" -}}
{{- $problems := concat (include "sokken.checks.release" . | fromJsonArray) }}
{{- if .Values.server.enabled }}
{{- $problems = concat $problems (include "sokken.checks.component" (list . "server") | fromJsonArray) (include "sokken.checks.server" . | fromJsonArray) }}
{{- end }}
{{- if .Values.client.enabled }}
{{- $problems = concat $problems (include "sokken.checks.component" (list . "client") | fromJsonArray) (include "sokken.checks.client" . | fromJsonArray) }}
{{- end }}
{{- with $problems }}
{{- printf "\n\n%s\n" (join "\n" .) | fail }}
{{- end }}
{{- end }}

{{- define "sokken.checks.release" -}}
{{- $problems := list }}
{{- with .Values }}
{{- if and .image.tag .image.digest }}
{{- $problems = append $problems "image.tag and image.digest are both set: keep one" }}
{{- end }}
{{- if .operator.enabled }}
{{- $problems = append $problems "operator.enabled: the operator is not in this version of the chart" }}
{{- end }}
{{- if and .telemetry.ca.existingSecret .telemetry.ca.existingConfigMap }}
{{- $problems = append $problems "telemetry.ca.existingSecret and telemetry.ca.existingConfigMap are both set: keep one" }}
{{- end }}
{{- if .helmTest.echo.enabled }}
{{- if not (and .server.enabled .client.enabled) }}
{{- $problems = append $problems "helmTest.echo.enabled needs server.enabled and client.enabled: its bytes go through both" }}
{{- end }}
{{- if .server.existingPolicyConfigMap.name }}
{{- $problems = append $problems "helmTest.echo.enabled and server.existingPolicyConfigMap.name are both set: the chart cannot write a rule for the echo into your ConfigMap" }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{/* What holds for server and client alike: (list $ "server"). */}}
{{- define "sokken.checks.component" -}}
{{- $root := index . 0 }}
{{- $name := index . 1 }}
{{- $values := index $root.Values $name }}
{{- $problems := list }}
{{- $placed := index ($root.Files.Get "files/placed-settings.yaml" | fromYaml) $name }}
{{- range $setting := keys $values.settings | sortAlpha }}
{{- with index $placed $setting }}
{{- $problems = append $problems (printf "%s.settings.%s: %s" $name $setting .) }}
{{- end }}
{{- if hasKey $values.secretSettings $setting }}
{{- $problems = append $problems (printf "%s.settings.%s and %s.secretSettings.%s are both set: keep one" $name $setting $name $setting) }}
{{- end }}
{{- end }}
{{- $plain := dict "Values" (deepCopy $root.Values) "Release" $root.Release "Chart" $root.Chart "Template" $root.Template }}
{{- $_ := set (index $plain.Values $name) "extraEnv" list }}
{{- range $variable := include "sokken.env" (list $plain $name) | fromYamlArray }}
{{- range $extra := $values.extraEnv }}
{{- if eq $extra.name $variable.name }}
{{- $problems = append $problems (printf "%s.extraEnv: %s is set by the chart; use %s.settings or the value that is made for it" $name $extra.name $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- with $values.autoscaling }}
{{- if .enabled }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
{{- $problems = append $problems (printf "%s.autoscaling.minReplicas is above %s.autoscaling.maxReplicas" $name $name) }}
{{- end }}
{{- if not (or .targetCPUUtilizationPercentage .metrics) }}
{{- $problems = append $problems (printf "%s.autoscaling has nothing to go by: set %s.autoscaling.targetCPUUtilizationPercentage or %s.autoscaling.metrics" $name $name $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{- define "sokken.checks.server" -}}
{{- $problems := list }}
{{- with .Values.server }}
{{- $policies := list }}
{{- if .targets }}{{ $policies = append $policies "server.targets" }}{{ end }}
{{- if .policy }}{{ $policies = append $policies "server.policy" }}{{ end }}
{{- if .existingPolicyConfigMap.name }}{{ $policies = append $policies "server.existingPolicyConfigMap.name" }}{{ end }}
{{- if gt (len $policies) 1 }}
{{- $problems = append $problems (printf "%s: they all say what tunnels may lead to; keep one" (join " and " $policies)) }}
{{- else if not $policies }}
{{- $problems = append $problems "server.targets is empty: list what tunnels may lead to (HOST:PORT), or set server.policy or server.existingPolicyConfigMap.name" }}
{{- end }}
{{- range $key, $value := dict "clientCA" .clientCA "jwt.jwks" .jwt.jwks "jwt.ca" .jwt.ca }}
{{- if and $value.existingSecret $value.existingConfigMap }}
{{- $problems = append $problems (printf "server.%s.existingSecret and server.%s.existingConfigMap are both set: keep one" $key $key) }}
{{- end }}
{{- end }}
{{- if and (or .clientCA.existingSecret .clientCA.existingConfigMap) (not .tls.existingSecret) }}
{{- $problems = append $problems "server.clientCA needs server.tls.existingSecret: only a server that speaks TLS itself sees certificates of clients" }}
{{- end }}
{{- with .jwt }}
{{- $keys := or .jwksURL .jwks.existingSecret .jwks.existingConfigMap }}
{{- if and (or .issuer .audience $keys .ca.existingSecret .ca.existingConfigMap .token.existingSecret) (not (and .issuer .audience $keys)) }}
{{- $problems = append $problems "server.jwt is set by half: it needs issuer, audience, and jwksURL or jwks" }}
{{- end }}
{{- if and .jwksURL (or .jwks.existingSecret .jwks.existingConfigMap) }}
{{- $problems = append $problems "server.jwt.jwksURL and server.jwt.jwks are both set: keep one" }}
{{- end }}
{{- end }}
{{- if and (eq (get .settings "SOKKEN_PROXY_PROTOCOL" | toString) "required") (not (get .settings "SOKKEN_TRUSTED_PROXIES")) }}
{{- $problems = append $problems "server.settings.SOKKEN_PROXY_PROTOCOL is required: name the proxies in server.settings.SOKKEN_TRUSTED_PROXIES, too" }}
{{- end }}
{{- if and .httpRoute.enabled (not .httpRoute.parentRefs) }}
{{- $problems = append $problems "server.httpRoute.parentRefs is empty: name the Gateway" }}
{{- end }}
{{- if and .service.nodePort (eq .service.type "ClusterIP") }}
{{- $problems = append $problems "server.service.nodePort needs server.service.type NodePort or LoadBalancer" }}
{{- end }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{- define "sokken.checks.client" -}}
{{- $problems := list }}
{{- with .Values.client }}
{{- if not .server.url }}
{{- $problems = append $problems "client.server.url is empty: name the server, for example wss://tunnel.example" }}
{{- end }}
{{- if not .forwards }}
{{- $problems = append $problems "client.forwards is empty: name at least one, for example {name: db, listenPort: 5432, target: {host: db.internal, port: 5432}}" }}
{{- end }}
{{- if and .token.existingSecret .serviceAccountToken.audience }}
{{- $problems = append $problems "client.token.existingSecret and client.serviceAccountToken.audience are both set: keep one" }}
{{- end }}
{{- if and .ca.existingSecret .ca.existingConfigMap }}
{{- $problems = append $problems "client.ca.existingSecret and client.ca.existingConfigMap are both set: keep one" }}
{{- end }}
{{- if hasPrefix "ws://" .server.url }}
{{- if or .ca.existingSecret .ca.existingConfigMap }}
{{- $problems = append $problems "client.ca needs a client.server.url with wss://" }}
{{- end }}
{{- $shown := or .token.existingSecret .serviceAccountToken.audience .clientCertificate.existingSecret .headers.existingSecret }}
{{- if and $shown (not (has (get .settings "SOKKEN_ALLOW_PLAINTEXT_CREDENTIALS" | toString | lower) (list "true" "1" "yes" "on"))) }}
{{- $problems = append $problems "client.server.url is ws://, and would show the client's credentials to everybody on the way: use wss://, or set client.settings.SOKKEN_ALLOW_PLAINTEXT_CREDENTIALS to true" }}
{{- end }}
{{- end }}
{{- end }}
{{- $names := list }}
{{- $listens := dict "8000" "health" "19000" "the admin address" }}
{{- $serves := dict }}
{{- range include "sokken.client.forwards" . | fromYamlArray }}
{{- $listen := toString .listenPort }}
{{- $serve := default .listenPort .servicePort | toString }}
{{- if has .name $names }}
{{- $problems = append $problems (printf "client.forwards: two are called %s" .name) }}
{{- end }}
{{- if has .name (list "health" "admin") }}
{{- $problems = append $problems (printf "client.forwards: %s is the name of a port of the chart's own; call it something else" .name) }}
{{- end }}
{{- with get $listens $listen }}
{{- $problems = append $problems (printf "client.forwards: listenPort %s is taken by %s; choose another, and say servicePort: %s if the Service should have that" $listen . $listen) }}
{{- end }}
{{- with get $serves $serve }}
{{- $problems = append $problems (printf "client.forwards: servicePort %s is taken by %s" $serve .) }}
{{- end }}
{{- $names = append $names .name }}
{{- $_ := set $listens $listen .name }}
{{- $_ := set $serves $serve .name }}
{{- end }}
{{- toJson $problems }}
{{- end }}
