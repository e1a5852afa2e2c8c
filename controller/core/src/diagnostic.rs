//! A problem that a person can act on: where it is, what is wrong, and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// What the document asks for cannot be served.
    Error,
    /// It is served, but probably not what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Where a problem is: a file of the repository, and a position inside it when there is one.
/// Lines and columns count from 1; columns count characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Location {
    /// Path from the repository's root, with `/` separators.
    pub file: String,
    /// Line, from 1; 0 when the problem is the whole file's.
    pub line: u32,
    /// Column in characters, from 1; 0 when unknown.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column.max(1)),
        }
    }
}

/// Line and column of a [`Location`], for where the file is known anyway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position(pub u32, pub u32);

impl Position {
    /// The place in `file`.
    pub fn within(self, file: &str) -> Location {
        Location { file: file.to_owned(), line: self.0, column: self.1 }
    }
}

/// One problem, in the machine-readable form of the command-line contract:
/// `{"file","line","column","severity","code","message"}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Where.
    #[serde(flatten)]
    pub at: Location,
    /// How much it matters.
    pub severity: Severity,
    /// Stable code, listed in the reference.
    pub code: Code,
    /// What is wrong and what to do, in one or two sentences.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}[{}]: {}", self.at, self.severity, self.code, self.message)
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident: $severity:ident,)+) => {
        /// The stable code of a kind of problem. The text form is the variant's name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code { $($(#[doc = $doc])+ $name,)+ }

        impl Code {
            /// Every code, for the reference.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// What the code means and what to do about it, as printed in the reference.
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc, "\n",)+),)+ }
            }

            /// The severity it is reported with.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)+ }
            }

            /// The text form.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }
        }
    };
}

codes! {
    // Files
    /// The file is not valid UTF-8. Save it as UTF-8 without a byte-order mark.
    Encoding: Error,
    /// The file or one of its documents is larger than the limit. Split it.
    TooLarge: Error,
    /// The document spends more aliases, nodes or nesting than the budget allows. Write it out flat.
    TooComplex: Error,
    /// The file is a symbolic link; links are never followed. Put the content itself there.
    Symlink: Error,
    /// The path is a submodule; submodules are never read. Move the manifests into this repository.
    Submodule: Error,
    /// The file is a Git LFS pointer; LFS content is not fetched. Store the file in Git or use an `https` source.
    LfsPointer: Error,
    /// The object could not be read from the repository. It will be tried again.
    Unreadable: Error,
    // Documents
    /// The text is not YAML.
    Syntax: Error,
    /// A key stands twice in one mapping. Remove one.
    DuplicateKey: Error,
    /// A field that this kind does not have. Check the spelling against the reference.
    UnknownField: Error,
    /// A required field is missing.
    MissingField: Error,
    /// A value of the wrong type, out of bounds, or not one of those allowed.
    InvalidValue: Error,
    /// The field is reserved for a later release. Remove it: serving without it could reach the wrong devices.
    FieldNotSupported: Error,
    /// `apiVersion` is of group sluice.dev but not a version that this program knows.
    UnknownVersion: Error,
    /// A kind that sluice.dev does not have.
    UnknownKind: Error,
    /// `Repository` and `Rollback` are not read from Git: the platform team and the gate write them.
    KindNotInGit: Error,
    /// Two documents of one kind and name. Rename or remove one.
    DuplicateName: Error,
    // References
    /// Two releases claim the same version of an app. The one that is served already wins.
    VersionConflict: Error,
    /// Two channels claim the same name for an app. The one that is served already wins.
    ChannelConflict: Error,
    /// Two public channels of an app cover the same platform. The one that is served already wins.
    PublicChannelConflict: Error,
    /// The channel refers to a version that no Release of this app declares.
    ReleaseNotFound: Error,
    /// The app is not one that this repository may publish, or another repository owns it.
    AppNotAllowed: Error,
    /// The version was published before with other bytes. It is burnt: publish a new version.
    VersionBurnt: Error,
    /// What the channel says of its rollout is probably not what is meant: an approval without its step, for example.
    RolloutUnclear: Warning,
    /// The channel lifts what nobody stopped: no brake of the app has this id. Compare it with `sluice brake list`.
    BrakeUnknown: Warning,
    /// Nobody can reach the channel: not public, not self-assignable, and no override can be set.
    ChannelUnreachable: Warning,
    /// No device can satisfy what the release or the line asks of the native version.
    ReleaseUnsatisfiable: Warning,
    /// A line can never match, because earlier lines match everything that it does.
    LineShadowed: Warning,
    // Bundles
    /// The bundle's path does not exist or is neither a directory nor a zip file.
    BundleNotFound: Error,
    /// The bundle has no `index.html` at its root; phones would download it and never start it.
    BundleWithoutIndex: Error,
    /// A file name in the bundle that some phones refuse or write elsewhere.
    BundleFileName: Error,
    /// The bundle is larger, or holds more files, than the limit.
    BundleTooLarge: Error,
    /// The bundle is not a zip file that phones can read.
    BundleFormat: Error,
    /// The bundle could not be downloaded; it will be tried again.
    BundleUnavailable: Error,
    /// The downloaded bytes do not have the SHA-256 that the release states.
    BundleDigestMismatch: Error,
    /// The URL is not `https`, or resolves to an address that is not public.
    BundleAddressRefused: Error,
    /// The bundle could not be written to the store, for example because the disk is full; it will be tried again.
    BundleNotStored: Error,
    /// OCI sources are not supported yet. Use `path` or `https`.
    SourceNotSupported: Error,
    // Whole commit
    /// The commit removes more than the guard allows. Add the trailer `Sluice-Allow-Prune: <count>` to a commit.
    PruneRefused: Error,
    // Custom resources
    /// The operator may not write this object: the API server answered 403. Compare its rights with the chart's.
    ApplyForbidden: Error,
    /// The API server, one of its admission policies or somebody's admission webhook refuses the object.
    ApplyRejected: Error,
    /// The namespace's quota does not allow another object.
    QuotaExceeded: Error,
    /// The namespace is not there, or is being deleted. What was served stays served.
    NamespaceUnavailable: Error,
    /// Another writer changes this object back again and again. Find it in `metadata.managedFields` and stop it.
    FieldConflict: Error,
    /// An object of this name exists that something else made. Delete it, or label it for this repository.
    OwnedByAnother: Error,
    /// The document names another namespace than its Repository's. A repository applies into its own namespace only.
    OtherNamespace: Error,
    /// The custom resource definitions are missing or older than the operator. Install those of its chart.
    CustomResourcesMissing: Error,
    /// The API server does not answer or is throttling; it is tried again.
    ApiUnavailable: Error,
    /// The object was deleted from the cluster, and Git still declares it. It is served for a grace period.
    DeletedBehindGit: Error,
    /// The object is in the cluster, and the commit that is followed does not declare it.
    NotInGit: Error,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Diagnostic {
    /// A problem of kind `code` at `at`, with the severity that belongs to the code.
    pub fn new(code: Code, at: Location, message: impl Into<String>) -> Self {
        Self { at, severity: code.severity(), code, message: message.into() }
    }
}
