{{/* The name of what belongs to the sidecar. */}}
{{- define "outrigger.name" -}}
{{ .Release.Name }}-outrigger
{{- end }}

{{/* What the values may not say together. */}}
{{- define "outrigger.check" -}}
{{- $nats := regexMatch `(?m)^\s*(spool\.)?kind\s*=\s*["']nats["']` .Values.settings -}}
{{- if not (or .Values.webhooks .Values.moreWebhooks) -}}
{{- fail "outrigger: there is no webhook; put one into webhooks, or name a ConfigMap in moreWebhooks" -}}
{{- end -}}
{{- if regexMatch `(?m)^\s*(\[\s*shutdown\s*\]|shutdown\.)` .Values.settings -}}
{{- fail "outrigger: settings has [shutdown]; set shutdown.graceSeconds and shutdown.delaySeconds, which the pod's own grace is made from" -}}
{{- end -}}
{{- if regexMatch `(?m)^\s*(\[\s*metrics\s*\]|metrics\.)` .Values.settings -}}
{{- fail "outrigger: settings has [metrics]; set metricsPort, which the probes ask" -}}
{{- end -}}
{{- if and (eq .Values.spool.kind "nats") (not $nats) -}}
{{- fail "outrigger: spool.kind is nats and settings does not say so; add [spool] with kind = \"nats\" and servers" -}}
{{- end -}}
{{- if and (ne .Values.spool.kind "nats") $nats -}}
{{- fail "outrigger: settings has a spool in NATS; set spool.kind to nats, which leaves the volume out" -}}
{{- end -}}
{{- if and (eq .Values.spool.kind "claim") (not (has .Values.workload.kind (list "StatefulSet" "none"))) -}}
{{- fail "outrigger: a claim is one pod's, which only a StatefulSet gives; set workload.kind to StatefulSet, or spool.kind to emptyDir, memory or nats" -}}
{{- end -}}
{{- end }}

{{/* An entry of initContainers: the sidecar. Its first place lets what follows post events. */}}
{{- define "outrigger.container" -}}
{{- include "outrigger.check" . -}}
- name: outrigger
  image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  # A native sidecar: it starts before the containers of the pod and ends after them, and keeps no Job from ending.
  restartPolicy: Always
  args: ["run", "--config", "/etc/outrigger"]
  env:
    - { name: OUTRIGGER_METRICS_LISTEN, value: "0.0.0.0:{{ .Values.metricsPort }}" }
    - { name: OUTRIGGER_SHUTDOWN_DELAY, value: "{{ .Values.shutdown.delaySeconds }}s" }
    - { name: OUTRIGGER_SHUTDOWN_GRACE, value: "{{ .Values.shutdown.graceSeconds }}s" }
    {{- with .Values.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - { name: metrics, containerPort: {{ .Values.metricsPort }} }
  startupProbe:
    httpGet: { path: /readyz, port: metrics }
    periodSeconds: 1
    failureThreshold: 60
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
      - configMap: { name: {{ . }} }
      {{- end }}
{{- with .Values.secretName }}
- name: outrigger-secrets
  secret: { secretName: {{ . }}, defaultMode: 0440 }
{{- end }}
{{- if eq .Values.spool.kind "emptyDir" }}
- name: outrigger-spool
  emptyDir: { sizeLimit: {{ .Values.spool.size }} }
{{- else if eq .Values.spool.kind "memory" }}
- name: outrigger-spool
  emptyDir: { medium: Memory, sizeLimit: {{ .Values.spool.size }} }
{{- else if and (eq .Values.spool.kind "nats") .Values.spool.natsSecretName }}
- name: outrigger-nats
  secret: { secretName: {{ .Values.spool.natsSecretName }}, defaultMode: 0440 }
{{- end }}
{{- end }}

{{/* An entry of a StatefulSet's volumeClaimTemplates, where spool.kind is claim. */}}
{{- define "outrigger.claim" -}}
- metadata: { name: outrigger-spool }
  spec:
    accessModes: ["ReadWriteOnce"]
    {{- with .Values.spool.storageClassName }}
    storageClassName: {{ . }}
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
