{{- define "vipgate.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "vipgate.labels" -}}
app.kubernetes.io/name: vipgate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* Of what runs as one component; the argument is a list of the root and its name. */ -}}
{{- define "vipgate.selector" -}}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- /* The port of a place such as 127.0.0.1:7473; nothing of `off`. */ -}}
{{- define "vipgate.speaker.port" -}}
{{- if ne .Values.speaker.metrics "off" }}{{ regexFind "[0-9]+$" .Values.speaker.metrics }}{{ end -}}
{{- end }}

{{- define "vipgate.controller.port" -}}7474{{- end }}

{{- /* Not empty where Prometheus is to ask, and its operator is there to be told. */ -}}
{{- define "vipgate.monitored" -}}
{{- $kind := printf "monitoring.coreos.com/v1/%s" .Values.monitoring.kind -}}
{{- if and .Values.monitoring.enabled (.Capabilities.APIVersions.Has $kind) }}yes{{ end -}}
{{- end }}

{{- /* The pools as the controller takes them: a spec for each name. */ -}}
{{- define "vipgate.pools" -}}
{{- $pools := dict -}}
{{- range $name, $pool := .Values.pools -}}
{{- if $pool -}}
{{- $_ := set $pools $name (ternary (dict "addresses" $pool) $pool (kindIs "slice" $pool)) -}}
{{- end -}}
{{- end -}}
{{- $pools | toJson -}}
{{- end }}

{{- /* Where the kubelet asks a speaker: where it listens. It declares no port, which would be taken from the node. */ -}}
{{- define "vipgate.speaker.probe" -}}
{{- $root := index . 0 -}}
path: {{ index . 1 }}
port: {{ include "vipgate.speaker.port" $root }}
{{- if not (include "vipgate.monitored" $root) }}
host: {{ regexReplaceAll "^\\[?(.*?)\\]?:[0-9]+$" $root.Values.speaker.metrics "${1}" | quote }}
{{- end }}
{{- end }}
