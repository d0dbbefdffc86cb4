{{/* The name of what belongs to the sidecar. */}}
{{- define "outrigger.name" -}}
{{ .Release.Name }}-outrigger
{{- end }}

{{/* The name of the workload, and the label `app` of its pods. */}}
{{- define "outrigger.workload" -}}
{{ .Values.workload.name | default .Release.Name }}
{{- end }}

{{/* A quantity of bytes ("96Mi", "1G", "2000000") in whole MiB. */}}
{{- define "outrigger.mebibytes" -}}
{{- $units := dict "" 1.0 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 -}}
{{- $quantity := kindIs "string" . | ternary (toString .) (int64 . | toString) -}}
{{- $unit := regexFind "[A-Za-z]*$" $quantity -}}
{{- if not (hasKey $units $unit) -}}
{{- fail (printf "outrigger: %s is no quantity of bytes; write it as 96Mi or 1Gi" $quantity) -}}
{{- end -}}
{{- divf (mulf (trimSuffix $unit $quantity | float64) (get $units $unit)) 1048576.0 | floor | int64 -}}
{{- end }}

{{/* The spool's own limit: half of the volume, so that `outrigger run --recover` has room for what it saves beside the damaged file. */}}
{{- define "outrigger.spoolMaxBytes" -}}
{{ div (include "outrigger.mebibytes" .Values.spool.size | int64) 2 }}MiB
{{- end }}

{{/* Each variable of a list that the chart sets itself is refused. */}}
{{- define "outrigger.reserved" -}}
{{- range .env -}}
{{- if hasKey $.reserved .name -}}
{{- fail (printf "outrigger: %s has %s, which the chart sets; %s" $.where .name (get $.reserved .name)) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* What the values may not say together. */}}
{{- define "outrigger.check" -}}
{{- $v := .Values -}}
{{- $settings := fromToml $v.settings -}}
{{- if hasKey $settings "Error" -}}
{{- fail (printf "outrigger: settings is no TOML: %s" (get $settings "Error")) -}}
{{- end -}}
{{- $table := dict -}}
{{- range $name := list "spool" "shutdown" "metrics" -}}
{{- $found := get $settings $name -}}
{{- $_ := set $table $name (kindIs "map" $found | ternary $found dict) -}}
{{- end -}}
{{- $nats := eq (toString $table.spool.kind) "nats" -}}
{{- if not (or $v.webhooks $v.moreWebhooks) -}}
{{- fail "outrigger: there is no webhook; put one into webhooks, or name a ConfigMap in moreWebhooks" -}}
{{- end -}}
{{- if or (hasKey $table.shutdown "delay") (hasKey $table.shutdown "grace") -}}
{{- fail "outrigger: settings has [shutdown]; set shutdown.graceSeconds and shutdown.delaySeconds, which the pod's own grace is made from" -}}
{{- end -}}
{{- if hasKey $table.metrics "listen" -}}
{{- fail "outrigger: settings has metrics.listen; set metricsAddress and metricsPort, which the probes ask" -}}
{{- end -}}
{{- if and (eq $v.spool.kind "nats") (not $nats) -}}
{{- fail "outrigger: spool.kind is nats and settings does not say so; add [spool] with kind = \"nats\" and servers" -}}
{{- end -}}
{{- if and (ne $v.spool.kind "nats") $nats -}}
{{- fail "outrigger: settings has a spool in NATS; set spool.kind to nats, which leaves the volume out" -}}
{{- end -}}
{{- if and (eq $v.spool.kind "claim") (not (has $v.workload.kind (list "StatefulSet" "none"))) -}}
{{- fail "outrigger: a claim is one pod's, which only a StatefulSet gives; set workload.kind to StatefulSet, or spool.kind to emptyDir, memory or nats" -}}
{{- end -}}
{{- if ne $v.spool.kind "nats" -}}
{{- if hasKey $table.spool "max_bytes" -}}
{{- fail "outrigger: settings has spool.max_bytes; set spool.size, half of which it is" -}}
{{- end -}}
{{- $size := include "outrigger.mebibytes" $v.spool.size | int64 -}}
{{- if lt $size 16 -}}
{{- fail (printf "outrigger: spool.size is %s; set 16Mi or more" $v.spool.size) -}}
{{- end -}}
{{- $limit := dig "limits" "memory" "" $v.resources -}}
{{- if and (eq $v.spool.kind "memory") $limit -}}
{{- if lt (include "outrigger.mebibytes" $limit | int64) (add $size 64) -}}
{{- fail (printf "outrigger: a spool in memory counts in resources.limits.memory, which is %v; set %dMi or more, or a smaller spool.size" $limit (add $size 64)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if has (int $v.metricsPort) (list 8460 8461) -}}
{{- fail "outrigger: metricsPort is the port of ingest or of admin; set another" -}}
{{- end -}}
{{- if eq (int $v.workload.port) (int $v.metricsPort) -}}
{{- fail "outrigger: workload.port is metricsPort, and the containers of a pod share their ports; set another metricsPort" -}}
{{- end -}}
{{- if and (ne $v.workload.kind "none") (not (regexMatch "^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$" (include "outrigger.workload" .))) -}}
{{- fail "outrigger: the release's name names no workload; set workload.name to at most 52 of a-z, 0-9 and -" -}}
{{- end -}}
{{- if and $v.podMonitor.enabled (eq $v.workload.kind "none") (not $v.workload.name) -}}
{{- fail "outrigger: the PodMonitor selects pods by their label app; set workload.name to that of your pods" -}}
{{- end -}}
{{- $reserved := dict "OUTRIGGER_METRICS_LISTEN" "set metricsAddress and metricsPort" "OUTRIGGER_SHUTDOWN_DELAY" "set shutdown.delaySeconds" "OUTRIGGER_SHUTDOWN_GRACE" "set shutdown.graceSeconds" "OUTRIGGER_SPOOL_KIND" "set spool.kind" -}}
{{- if ne $v.spool.kind "nats" -}}
{{- $_ := set $reserved "OUTRIGGER_SPOOL_MAX_BYTES" "set spool.size" -}}
{{- end -}}
{{- include "outrigger.reserved" (dict "where" "env" "env" $v.env "reserved" $reserved) -}}
{{- $reserved = dict "WEBHOOK_URL" "have the access service read another variable" -}}
{{- include "outrigger.reserved" (dict "where" "workload.env" "env" $v.workload.env "reserved" $reserved) -}}
{{- end }}

{{/* What the metrics listener binds. */}}
{{- define "outrigger.metricsListen" -}}
{{- $address := .Values.metricsAddress -}}
{{ contains ":" $address | ternary (printf "[%s]" $address) $address }}:{{ .Values.metricsPort }}
{{- end }}

{{/* A label of the pod, with a spool in NATS alone: whom deploy/kubernetes/nats.yaml lets in. */}}
{{- define "outrigger.podLabels" -}}
{{- if eq .Values.spool.kind "nats" }}outrigger-spool: nats{{ end }}
{{- end }}

{{/* An entry of initContainers: the sidecar. Its first place lets what follows post events. */}}
{{- define "outrigger.container" -}}
{{- include "outrigger.check" . -}}
- name: outrigger
  {{- $tag := .Values.image.tag | default .Chart.AppVersion }}
  image: {{ printf "%s%s%s" .Values.image.repository (hasPrefix "sha256:" $tag | ternary "@" ":") $tag | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  # A native sidecar: it starts before the containers of the pod and ends after them, and keeps no Job from ending.
  restartPolicy: Always
  args: ["run", "--config", "/etc/outrigger"]
  env:
    - { name: OUTRIGGER_METRICS_LISTEN, value: {{ include "outrigger.metricsListen" . | quote }} }
    - { name: OUTRIGGER_SHUTDOWN_DELAY, value: "{{ .Values.shutdown.delaySeconds }}s" }
    - { name: OUTRIGGER_SHUTDOWN_GRACE, value: "{{ .Values.shutdown.graceSeconds }}s" }
    {{- if ne .Values.spool.kind "nats" }}
    - { name: OUTRIGGER_SPOOL_MAX_BYTES, value: {{ include "outrigger.spoolMaxBytes" . | quote }} }
    {{- end }}
    {{- with .Values.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - { name: metrics, containerPort: {{ .Values.metricsPort }} }
  startupProbe:
    httpGet: { path: /readyz, port: metrics }
    # Five minutes: a start reads a spool that holds much, and is not ended for it.
    periodSeconds: 1
    failureThreshold: 300
  livenessProbe:
    httpGet: { path: /livez, port: metrics }
  {{- if eq .Values.spool.kind "nats" }}
  # No readinessProbe: /readyz is 503 in all replicas while NATS is away, and the access service would be out of reach at once.
  {{- else }}
  readinessProbe:
    httpGet: { path: /readyz, port: metrics }
  {{- end }}
  resources:
    {{- toYaml .Values.resources | nindent 4 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: { drop: ["ALL"] }
    seccompProfile: { type: RuntimeDefault }
  volumeMounts:
    # Folders and never subPath: a file that is mounted by subPath does not change in a running pod.
    - { name: outrigger-settings, mountPath: /etc/outrigger, readOnly: true }
    - { name: outrigger-webhooks, mountPath: /etc/outrigger/webhooks, readOnly: true }
    {{- if .Values.secretName }}
    - { name: outrigger-secrets, mountPath: /run/secrets/outrigger, readOnly: true }
    {{- end }}
    {{- if ne .Values.spool.kind "nats" }}
    - { name: outrigger-spool, mountPath: /var/lib/outrigger }
    {{- else if .Values.spool.natsSecretName }}
    - { name: outrigger-nats, mountPath: /run/secrets/outrigger-nats, readOnly: true }
    {{- end }}
{{- end }}

{{/* Entries of volumes. */}}
{{- define "outrigger.volumes" -}}
- name: outrigger-settings
  configMap: { name: {{ include "outrigger.name" . }} }
- name: outrigger-webhooks
  projected:
    sources:
      {{- if .Values.webhooks }}
      - configMap: { name: {{ include "outrigger.name" . }}-webhooks }
      {{- end }}
      {{- range .Values.moreWebhooks }}
      - configMap: { name: {{ . | quote }} }
      {{- end }}
{{- with .Values.secretName }}
- name: outrigger-secrets
  secret: { secretName: {{ . | quote }}, defaultMode: 0440 }
{{- end }}
{{- if eq .Values.spool.kind "emptyDir" }}
- name: outrigger-spool
  emptyDir: { sizeLimit: {{ .Values.spool.size }} }
{{- else if eq .Values.spool.kind "memory" }}
- name: outrigger-spool
  emptyDir: { medium: Memory, sizeLimit: {{ .Values.spool.size }} }
{{- else if and (eq .Values.spool.kind "nats") .Values.spool.natsSecretName }}
- name: outrigger-nats
  secret: { secretName: {{ .Values.spool.natsSecretName | quote }}, defaultMode: 0440 }
{{- end }}
{{- end }}

{{/* An entry of a StatefulSet's volumeClaimTemplates, where spool.kind is claim. */}}
{{- define "outrigger.claim" -}}
- metadata: { name: outrigger-spool }
  spec:
    accessModes: ["ReadWriteOnce"]
    {{- with .Values.spool.storageClassName }}
    storageClassName: {{ . | quote }}
    {{- end }}
    resources: { requests: { storage: {{ .Values.spool.size }} } }
{{- end }}

{{/* The pod's securityContext: the group lets the sidecar read its secrets and write its claim. */}}
{{- define "outrigger.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{/* The pod's terminationGracePeriodSeconds. */}}
{{- define "outrigger.gracePeriod" -}}
{{ add .Values.shutdown.delaySeconds .Values.shutdown.graceSeconds .Values.shutdown.reserveSeconds }}
{{- end }}
