//! Whom a channel or a step is limited to: from what its document says to the audience of the domain.

use serde_json::Value as Json;
use sluice_core::{
    channel::{Audience, Channel},
    diagnostic::Code,
    native::NativeRange,
    request::DeviceKey,
};
use sluice_crds::channel as crd;

use super::platform;
use crate::{document::accept, values::device_key, walk::Walk};

/// The audience that stands at `field`, and that [`check`] found nothing against.
pub(super) fn audience(audience: &crd::Audience, field: &str, walk: &mut Walk<'_>) -> Option<Audience> {
    let crd::Audience { platforms, native, os, plugin, custom_ids, device_ids, locales, countries } =
        audience;
    let mut range = |text: &Option<String>, name: &str| match text {
        Some(text) => accept(text.parse::<NativeRange>(), &format!("{field}.{name}"), walk).map(Some),
        None => Some(None),
    };
    let (native, os, plugin) = (range(native, "native")?, range(os, "os")?, range(plugin, "plugin")?);
    let keys = device_ids.iter().map(|id| device_key(id)).collect::<Option<_>>();
    Some(Audience {
        platforms: (!platforms.is_empty()).then(|| platforms.iter().copied().map(platform).collect()),
        native,
        os,
        plugin,
        custom_ids: custom_ids.clone(),
        devices: accept::<std::collections::BTreeSet<DeviceKey>, _>(
            keys.ok_or("one of these is no device id"),
            &format!("{field}.deviceIds"),
            walk,
        )?,
        locales: locales.clone(),
        countries: countries.clone(),
    })
}

/// An audience without a condition would be everybody.
pub(super) fn check(audience: &Json, field: &str, walk: &mut Walk<'_>) {
    if audience.as_object().is_some_and(serde_json::Map::is_empty)
        && !walk
            .fields
            .keys()
            .any(|known| known.strip_prefix(field).is_some_and(|rest| rest.starts_with('.')))
    {
        let message = "an audience needs at least one condition, for example `platforms: [ios]`; leave `audience` out for \
                       everybody";
        walk.report_field(Code::InvalidValue, field, message);
    }
}

/// Conditions that no device of the channel can meet.
pub(super) fn lint(audience: &Audience, channel: &Channel, field: &str, walk: &mut Walk<'_>) {
    let Audience { platforms, native, os, plugin, .. } = audience;
    for (name, range) in [("native", native), ("os", os), ("plugin", plugin)] {
        if let Some(range) = range.as_ref().filter(|range| range.is_empty()) {
            let message =
                format!("no version is in `{range}`, so no device is in this audience; correct the range");
            walk.report_field(Code::ChannelUnreachable, &format!("{field}.{name}"), &message);
        }
    }
    if platforms.is_some_and(|platforms| platforms.intersection(channel.access.platforms).is_empty()) {
        let message = "the channel serves none of these platforms, so no device is in this audience; name another one, or \
                       add it to `spec.platforms`";
        walk.report_field(Code::ChannelUnreachable, &format!("{field}.platforms"), message);
    }
}
