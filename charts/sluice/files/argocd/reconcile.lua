-- Asks Sluice to look now. Any new value does; the time says when somebody asked.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["sluice.dev/requestedAt"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
