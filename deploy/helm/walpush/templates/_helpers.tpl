{{- define "walpush.labels" -}}
app.kubernetes.io/name: walpush
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "walpush.name" -}}
{{- if contains "walpush" .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}{{ else }}{{ printf "%s-walpush" .Release.Name | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/*
The container, but for probes of start and readiness. An application's own chart that has this one as a dependency makes it a sidecar with
  initContainers:
    - {{ include "walpush.container" $walpush | nindent 6 }}
      restartPolicy: Always
and the two volumes of "walpush.volumes". A sidecar has no such probes: they would count for the application. Without them the Pod is
ready while walpush runs. Services and policies name its ports by number: Kubernetes before 1.32 does not find those of an init container.
*/}}
{{- define "walpush.container" -}}
name: walpush
image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [run, -c, /etc/walpush/sidecar.conf]
env:
  # The kubelet and Prometheus come from outside the Pod; the NetworkPolicy lets nobody else in.
  - name: WALPUSH_ADMIN_ADDRESS
    value: 0.0.0.0
  # Both ask by the Pod's address; for whoever asks by a name.
  - name: WALPUSH_ADMIN_HOSTS
    value: {{ join " " .Values.adminHosts | quote }}
  {{- with .Values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - name: live
    containerPort: 8001
  - name: walpush-admin
    containerPort: 8002
livenessProbe:
  httpGet:
    path: /healthz
    port: 8002
  initialDelaySeconds: 10
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
  # A process that does not answer does not say goodbye either.
  terminationGracePeriodSeconds: 5
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: walpush-config
    mountPath: /etc/walpush
    readOnly: true
  - name: walpush-secret
    mountPath: /run/secrets/walpush
    readOnly: true
{{- end }}

{{- define "walpush.volumes" -}}
- name: walpush-config
  configMap:
    name: {{ include "walpush.name" . }}
- name: walpush-secret
  secret:
    secretName: {{ required "secret.name: an existing Secret with the keys url and key" .Values.secret.name }}
    defaultMode: 0440
{{- end }}
