-- Health of a Repository, Release, Channel or Rollback for Argo CD, from the conditions that kstatus defines.
-- A channel in the middle of a rollout is Healthy: Ready means that it is served as asked.
local hs = { status = "Progressing", message = "Waiting for Sluice" }

local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return hs
end

local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end

local function because(name, health)
  local condition = found[name]
  hs.status = health
  hs.message = condition.reason .. ": " .. (condition.message or "")
  return hs
end

if found.Stalled ~= nil and found.Stalled.status == "True" then
  return because("Stalled", "Degraded")
end
if found.Reconciling ~= nil and found.Reconciling.status == "True" then
  return because("Reconciling", "Progressing")
end
if found.Ready == nil or found.Ready.status == "Unknown" then
  return hs
end
-- kstatus calls this "in progress" because it is tried again. Argo CD has no limit to how long something may progress,
-- so that a repository that does not answer would never be seen.
if found.Ready.status == "False" then
  return because("Ready", "Degraded")
end
if obj.spec ~= nil and obj.spec.suspend == true then
  return because("Ready", "Suspended")
end
return because("Ready", "Healthy")
