//! What the data of a Secret says about who is told.

use secrecy::ExposeSecret;
use sluice_notify::{Form, Target};

use super::{
    data::Data,
    mistake::{Mistake, Mistakes},
};

const ADDRESS: &str = "address";
const TOKEN: &str = "token";

/// Who is told, by the keys of a Provider of Flux. `signed`: what requests are signed with is required. Unless `anywhere`, only
/// over https to addresses of the Internet.
pub(super) fn read(data: &Data, form: Form, signed: bool, anywhere: bool) -> Result<Target, Mistakes> {
    let mut mistakes = Vec::new();
    let address = data.line(ADDRESS, &mut mistakes);
    let token = data.line(TOKEN, &mut mistakes);
    if address.is_none() && mistakes.is_empty() {
        mistakes.push(Mistake::NoAddress);
    }
    if signed && token.is_none() && !data.has(TOKEN) {
        mistakes.push(Mistake::NotSigned);
    }
    let url = address.and_then(|text| text.expose_secret().trim().parse::<url::Url>().ok());
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if url.is_none() && mistakes.is_empty() {
        mistakes.push(Mistake::NotAUrl(ADDRESS));
    }
    Mistakes::check(mistakes)?;
    let refused = |error: &dyn std::fmt::Display| Mistakes::of(Mistake::Target(error.to_string()));
    let url = url.ok_or_else(|| Mistakes::of(Mistake::NoAddress))?;
    let token = token.as_ref().map(ExposeSecret::expose_secret);
    let target = Target::new(url, token, form).map_err(|error| refused(&error))?;
    if anywhere { Ok(target) } else { target.on_the_internet().map_err(|error| refused(&error)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_of(pairs: &[(&str, &str)], signed: bool, anywhere: bool) -> Result<Target, String> {
        let data = Data::new(pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())));
        read(&data, Form::CloudEvents, signed, anywhere).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn mistakes_are_told_without_values() {
        let token = (TOKEN, "canary-canary-canary");
        for (pairs, anywhere, what) in [
            (&[token][..], true, "`address` is missing"),
            (&[(ADDRESS, "canary"), token], true, "`address` is not an http or https URL"),
            (&[(ADDRESS, "ftp://canary.example.org"), token], true, "`address` is not an http or https URL"),
            (&[(ADDRESS, "https://hooks.example.org/canary")], true, "`token` is missing"),
            (&[(ADDRESS, "https://hooks.example.org/canary"), (TOKEN, "canary")], true, "at least 16 bytes"),
            (&[(ADDRESS, "http://hooks.example.org/canary"), token], false, "https"),
            (&[(ADDRESS, "https://127.0.0.1/canary"), token], false, "not one of the Internet"),
            (&[(ADDRESS, "https://[fd00::1]/canary"), token], false, "not one of the Internet"),
        ] {
            let error = read_of(pairs, true, anywhere).unwrap_err();
            assert!(error.contains(what) && !error.contains("canary"), "{what}: {error}");
        }
        assert!(read_of(&[(ADDRESS, "http://127.0.0.1:1/x"), token], true, true).is_ok());
        assert!(read_of(&[(ADDRESS, "https://hooks.example.org/x\n")], false, false).is_ok());
    }
}
