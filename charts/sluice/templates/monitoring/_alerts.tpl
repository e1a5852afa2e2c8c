{{/* The alerts. What is between back quotes is for Prometheus, not for Helm. */}}
{{- define "sluice.alerts" -}}
{{- $name := include "sluice.fullname" . -}}
{{- /* Figures of Repositories carry the namespace of the Repository, all others that of the pod. */ -}}
{{- $repositories := printf "job=\"%s-admin\"" $name -}}
{{- $operator := printf "%s,namespace=\"%s\"" $repositories .Release.Namespace -}}
{{- $pods := printf "job=~\"%s(-gateway)?-admin\",namespace=\"%s\"" $name .Release.Namespace -}}
- alert: SluiceSnapshotStale
  expr: time() - max by (namespace, job, pod) (sluice_snapshot_checked_timestamp_seconds{ {{- $pods -}} }) > 120
  for: 3m
  severity: warning
  summary: A pod answers devices from an old snapshot
  description: '{{`Pod {{ $labels.pod }} last confirmed {{ $value | humanizeDuration }} ago that what it serves is current. Brakes and releases do not reach its devices.`}}'
- alert: SluiceStoreAway
  expr: max by (namespace, job, pod) (sluice_store_up{ {{- $pods -}} }) == 0
  for: 2m
  severity: critical
  summary: The bundle store does not answer
  description: '{{`Pod {{ $labels.pod }} cannot reach the bundle store. The last good state stays served; nothing new is published and no brake arrives.`}}'
- alert: SluiceEventQueueFull
  expr: sum by (namespace, job, pod) (rate(sluice_http_requests_total{ {{- $pods -}} ,route="stats",class="5xx"}[5m])) > 0
  for: 5m
  severity: warning
  summary: Events of devices are refused
  description: '{{`Pod {{ $labels.pod }} answers {{ $value | humanize }} event requests a second with 503, because they cannot be stored. Current clients send them again; older ones lose them.`}}'
- alert: SluiceGitUnreachable
  expr: time() - max by (namespace, repository) (sluice_git_last_contact_timestamp_seconds{ {{- $repositories -}} }) > {{ int .Values.monitoring.prometheusRule.gitSilenceSeconds }}
  for: 5m
  severity: warning
  summary: A Git repository does not answer
  description: '{{`Repository {{ $labels.namespace }}/{{ $labels.repository }} last answered {{ $value | humanizeDuration }} ago. What it published stays served; merges have no effect.`}}'
- alert: SluiceLeaderMissing
  expr: (sum by (namespace) (sluice_leader{ {{- $operator -}} }) or on () vector(0)) < 1
  for: 2m
  severity: critical
  summary: No operator leads
  description: No pod of the operator holds the lease. Devices are answered and brakes work; nothing is released.
- alert: SluiceCertificateExpiring
  expr: min by (namespace, job) (sluice_tls_certificate_not_after_timestamp_seconds{ {{- $pods -}} }) - time() < {{ mul (int .Values.monitoring.prometheusRule.certificateDays) 86400 }}
  for: 1h
  severity: warning
  summary: The certificate for devices expires soon
  description: '{{`The certificate that {{ $labels.job }} shows to devices ends in {{ $value | humanizeDuration }}. Afterwards no phone can ask for updates.`}}'
- alert: SluiceCheckInsDropped
  expr: sum by (namespace, job, pod) (increase(sluice_fleet_check_ins_dropped_total{ {{- $pods -}} }[10m])) > 0
  for: 10m
  severity: warning
  summary: Check-ins are not recorded
  description: '{{`Pod {{ $labels.pod }} gave up {{ $value | humanize }} check-ins in ten minutes. Devices are answered; counts of active devices fall short.`}}'
- alert: SluiceFleetStoreDamaged
  expr: max by (namespace, job, pod) (sluice_fleet_damaged_files{ {{- $operator -}} }) > 0
  for: 1m
  severity: warning
  summary: The fleet store was damaged and begun anew
  description: '{{`Pod {{ $labels.pod }} set a damaged file of the fleet store aside. Devices are answered; counts began again, and channels of single devices are forgotten.`}}'
- alert: SluiceRepositoryNotReady
  expr: max by (namespace, repository) (sluice_repository_ready{ {{- $repositories -}} }) == 0
  for: 15m
  severity: warning
  summary: A Repository is not served as it asks
  description: '{{`Repository {{ $labels.namespace }}/{{ $labels.repository }} is not ready. kubectl -n {{ $labels.namespace }} describe repositories.sluice.dev {{ $labels.repository }} says why.`}}'
- alert: SluiceBraked
  expr: max by (app, channel) (sluice_rollout_phase{ {{- $operator -}} ,phase="Braked"}) == 1
  for: 0m
  severity: critical
  summary: What Git asks for is braked
  description: '{{`Channel {{ $labels.channel }} of {{ $labels.app }} asks for a release that is braked. Devices are safe; until Git asks for another one nothing is released on it. sluice status says why.`}}'
- alert: SluiceRolloutHeld
  expr: max by (app, channel, phase) (sluice_rollout_phase{ {{- $operator -}} ,phase=~"Held|Paused"}) == 1
  for: {{ .Values.monitoring.prometheusRule.heldFor }}
  severity: warning
  summary: A rollout does not go on
  description: '{{`The rollout on channel {{ $labels.channel }} of {{ $labels.app }} is {{ $labels.phase | toLower }}. sluice status says what it waits for.`}}'
- alert: SluiceEvidenceMissing
  expr: max by (app, channel) (sluice_rollout_phase{ {{- $operator -}} ,phase="EvidenceUnavailable"}) == 1
  for: 10m
  severity: warning
  summary: A rollout has no evidence to go on by
  description: '{{`The rollout on channel {{ $labels.channel }} of {{ $labels.app }} waits, because what devices report cannot be read or written. No other rollout goes on either.`}}'
- alert: SluiceSampleRatio
  expr: max by (app, channel) (sluice_rollout_verdict{ {{- $operator -}} ,reason="SampleRatioMismatch"}) == 1
  for: 10m
  severity: warning
  summary: The arms of a trial are not as large as they must be
  description: '{{`The rollout on channel {{ $labels.channel }} of {{ $labels.app }} is held: more or fewer devices enrolled in one arm than its weight says, so that the comparison cannot be trusted.`}}'
{{- end -}}
