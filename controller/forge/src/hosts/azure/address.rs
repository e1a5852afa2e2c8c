//! What the address of a repository at Azure DevOps says.

use url::Url;

use crate::place::Place;

/// The organisation or collection, the project and the name of a repository. Where a project has the name of its repository,
/// addresses leave it out. Of a collection that is given, the place has no folders any more.
pub(crate) fn repository(place: &Place, given: Option<Url>) -> Option<(Url, String, String)> {
    let path: Vec<&str> = place.path.iter().map(String::as_str).collect();
    let (before, name) = match path.as_slice() {
        // The form of SSH.
        ["v3", organisation, project, name] => (vec![*organisation, *project], *name),
        [before @ .., "_git", name] | [before @ .., "_git", "_full" | "_optimized", name] => {
            (before.to_vec(), *name)
        }
        _ => return None,
    };
    let below = |web: &Url, folders: &[&str]| {
        let mut base = web.clone();
        base.path_segments_mut().ok()?.pop_if_empty().extend(folders);
        Some(base)
    };
    let services = place.host().ends_with(".visualstudio.com");
    let (base, project) = match given {
        Some(given) => (given, before.last().copied()),
        None if services => {
            (below(&place.web, &[])?, before.iter().rfind(|p| **p != "DefaultCollection").copied())
        }
        None => match before.as_slice() {
            [] => return None,
            [organisation] => (below(&place.web, &[organisation])?, None),
            [folders @ .., project] => (below(&place.web, folders)?, Some(*project)),
        },
    };
    Some((base, project.unwrap_or(name).to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "https://dev.azure.com/org/My%20Project/_git/ota",
        None,
        "https://dev.azure.com/org",
        "My Project",
        "ota"
    )]
    #[case(
        "https://dev.azure.com/ota/ota/_git/ota",
        Some("https://dev.azure.com/ota/"),
        "https://dev.azure.com/ota/",
        "ota",
        "ota"
    )]
    #[case(
        "git@ssh.dev.azure.com:v3/org/shop/ota",
        Some("https://dev.azure.com/org"),
        "https://dev.azure.com/org",
        "shop",
        "ota"
    )]
    #[case("https://dev.azure.com/org/_git/ota", None, "https://dev.azure.com/org", "ota", "ota")]
    #[case("git@ssh.dev.azure.com:v3/org/shop/ota", None, "https://dev.azure.com/org", "shop", "ota")]
    #[case(
        "https://org.visualstudio.com/shop/_git/ota",
        None,
        "https://org.visualstudio.com/",
        "shop",
        "ota"
    )]
    #[case(
        "https://org.visualstudio.com/DefaultCollection/shop/_git/ota",
        None,
        "https://org.visualstudio.com/",
        "shop",
        "ota"
    )]
    #[case("https://org.visualstudio.com/_git/ota", None, "https://org.visualstudio.com/", "ota", "ota")]
    #[case(
        "https://tfs.example.org/tfs/Shop/web/_git/ota",
        None,
        "https://tfs.example.org/tfs/Shop",
        "web",
        "ota"
    )]
    #[case(
        "https://tfs.example.org/tfs/Shop/_git/ota",
        Some("https://tfs.example.org/tfs/Shop"),
        "https://tfs.example.org/tfs/Shop",
        "ota",
        "ota"
    )]
    fn addresses_name_a_repository(
        #[case] address: &str,
        #[case] base: Option<&str>,
        #[case] api: &str,
        #[case] project: &str,
        #[case] name: &str,
    ) {
        let mut place = Place::parse(address).unwrap();
        let base: Option<Url> = base.map(|base| base.parse().unwrap());
        if let Some(base) = &base {
            place.below(base);
        }
        let found = repository(&place, base).unwrap();
        assert_eq!(found, (api.parse().unwrap(), project.to_owned(), name.to_owned()));
    }

    #[test]
    fn other_addresses_do_not() {
        for address in ["https://dev.azure.com/org/shop/ota", "https://dev.azure.com/_git/ota"] {
            assert_eq!(repository(&Place::parse(address).unwrap(), None), None, "{address}");
        }
    }
}
