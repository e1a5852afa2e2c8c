-- Which actions Argo CD offers for an object. Only a Repository may be suspended here: everything else is Git's.
local actions = { reconcile = { disabled = false } }
if obj.kind == "Repository" then
  local suspended = obj.spec ~= nil and obj.spec.suspend == true
  actions.suspend = { disabled = suspended }
  actions.resume = { disabled = not suspended }
end
return actions
