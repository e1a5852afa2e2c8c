//! The command line as it is parsed. Settings of `serve` are checked in [`crate::config`], all together.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use serde::Deserialize;

use crate::commands::{
    brake::BrakeArgs,
    connect::{self, ClusterArgs},
    decisions::DecisionsArgs,
    demo::DemoArgs,
    device::DeviceArgs,
    gateway::GatewayArgs,
    operator::OperatorArgs,
    report::ReportArgs,
    rollback::RollbackArgs,
    simulate::SimulateArgs,
};

/// Over-the-air updates for hybrid mobile apps, from Git.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// What this process was called with. Help and errors name it as the caller did.
    pub(crate) fn of_this_process() -> Self {
        let mut command = Self::command();
        if connect::is_plugin() {
            command = command.bin_name("kubectl sluice");
        }
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Follow a Git repository and answer devices, in one process
    Serve(Box<ServeArgs>),
    /// Run the controllers of a Kubernetes cluster
    Operator(Box<OperatorArgs>),
    /// Answer devices from a bundle store that others publish to
    Gateway(Box<GatewayArgs>),
    /// Check the releases and channels of a directory
    Validate(ValidateArgs),
    /// Show what a running server serves, and what is wrong
    Status(StatusArgs),
    /// Explain what a running server answers a device, and why
    Explain(ExplainArgs),
    /// Wait until a rollout has ended
    Wait(WaitArgs),
    /// See in a minute how a bad release is stopped and taken back, with nothing but this program
    Demo(DemoArgs),
    /// Run a fleet of phones against a server, for load, practice and proof
    Simulate(SimulateArgs),
    /// Stop a bundle now, on a channel or on all channels of an app
    Brake(Box<BrakeArgs>),
    /// Take a channel back to what did well before, on devices at once and in Git by a commit
    Rollback(Box<RollbackArgs>),
    /// Show what was decided for the rollouts of an app, and check that the log is unchanged
    Decisions(DecisionsArgs),
    /// Report how the releases of an app reach their devices and do on them
    Report(ReportArgs),
    /// Show, export or forget what is kept of one device, or put it on a channel
    Device(Box<DeviceArgs>),
    /// Print the `capacitor.config` block that points an app at a server
    ClientConfig(ClientConfigArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Network Git in a process that can be killed; started by `serve`
    #[command(hide = true)]
    GitWorker,
    /// Wait until addresses answer; for the test of a Helm release
    #[command(hide = true)]
    CheckHealth(CheckHealthArgs),
    /// Write the files that are made from the code: CRDs, schemas, reference
    #[command(hide = true)]
    Generate(GenerateArgs),
}

/// Every setting can also stand in the environment and in the file given by `--config`, under the flag's name. A flag
/// wins over the environment, the environment over the file, the file over the default.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct ServeArgs {
    /// Git repository: a URL, a bare repository, or a clone (its commits count, uncommitted files do not)
    #[arg(long, env = "SLUICE_REPOSITORY", value_name = "URL|DIR")]
    pub(crate) repository: Option<String>,
    /// Branch to follow [default: main]
    #[arg(long, env = "SLUICE_BRANCH", value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// Tag to follow, instead of a branch
    #[arg(long, env = "SLUICE_TAG", value_name = "NAME")]
    pub(crate) tag: Option<String>,
    /// Follow the highest tag in this range, instead of a branch
    #[arg(long, env = "SLUICE_SEMVER", value_name = "RANGE")]
    pub(crate) semver: Option<String>,
    /// Commit to serve, instead of a branch
    #[arg(long, env = "SLUICE_COMMIT", value_name = "ID")]
    pub(crate) commit: Option<String>,
    /// Folder of the repository that is read [default: .]
    #[arg(long, env = "SLUICE_PATH", value_name = "DIR")]
    pub(crate) path: Option<String>,
    /// Where everything is kept that must survive a restart
    #[arg(long, env = "SLUICE_DATA", value_name = "DIR")]
    pub(crate) data: Option<String>,
    /// How often the repository is asked for news [default: 15s]
    #[arg(long, env = "SLUICE_POLL", value_name = "DURATION")]
    pub(crate) poll: Option<String>,
    /// How rollbacks are written back to Git: `push` to the branch, `pull-request` to a branch of their own, `auto` the first of
    /// both that the repository takes, or `off` [default: auto]
    #[arg(long, env = "SLUICE_WRITE", value_name = "MODE")]
    pub(crate) write: Option<String>,
    /// Who commits rollbacks [default: Sluice <sluice@localhost>]
    #[arg(long, env = "SLUICE_GIT_AUTHOR", value_name = "NAME <MAIL>")]
    pub(crate) git_author: Option<String>,
    /// File with the SSH key, ed25519 and without a passphrase, that rollbacks are signed with
    #[arg(long, env = "SLUICE_GIT_SIGNING_KEY_FILE", value_name = "FILE")]
    pub(crate) git_signing_key_file: Option<String>,
    /// Kind of the Git host, for pull requests: github, gitlab, gitea, forgejo, bitbucket, azure-devops, or `off` [default: what its
    /// name says]
    #[arg(long, env = "SLUICE_FORGE", value_name = "KIND")]
    pub(crate) forge: Option<String>,
    /// Address of its API [default: follows from the repository's]
    #[arg(long, env = "SLUICE_FORGE_URL", value_name = "URL")]
    pub(crate) forge_url: Option<String>,
    /// File with a token for it [default: the password or token for Git over https]
    #[arg(long, env = "SLUICE_FORGE_TOKEN_FILE", value_name = "FILE")]
    pub(crate) forge_token_file: Option<String>,
    /// App ids that may be published, `*` for any run of characters [default: every app]
    #[arg(long, env = "SLUICE_APPS", value_name = "ID,…", value_delimiter = ',')]
    pub(crate) apps: Option<Vec<String>>,
    /// YAML file with a list of times in which no rollout goes on, each with `name`, `from`, `to` and `reason`; read at start
    #[arg(long, env = "SLUICE_FREEZES_FILE", value_name = "FILE")]
    pub(crate) freezes_file: Option<String>,
    /// Where devices connect [default: 127.0.0.1:8080]
    #[arg(long, env = "SLUICE_LISTEN", value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Where people and Prometheus connect [default: 127.0.0.1:8081]
    #[arg(long, env = "SLUICE_ADMIN_LISTEN", value_name = "ADDRESS")]
    pub(crate) admin_listen: Option<String>,
    /// How devices reach this server; download URLs begin with it [default: the listen address]
    #[arg(long, env = "SLUICE_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// Where bundles are downloaded from, when not from this server: a CDN or a bucket
    #[arg(long, env = "SLUICE_DOWNLOAD_URL", value_name = "URL")]
    pub(crate) download_url: Option<String>,
    /// Networks of proxies whose forwarding headers are believed
    #[arg(long, env = "SLUICE_TRUSTED_PROXIES", value_name = "CIDR,…", value_delimiter = ',')]
    pub(crate) trusted_proxies: Option<Vec<String>>,
    /// File with the secret of the webhook at /hooks/default, one per line
    #[arg(long, env = "SLUICE_HOOK_SECRET_FILE", value_name = "FILE")]
    pub(crate) hook_secret_file: Option<String>,
    /// File with tokens that may stop releases of one app and do nothing else: `APP NAME TOKEN`, or `APP NAME sha256:HASH`, per
    /// line; read again when it changes
    #[arg(long, env = "SLUICE_BRAKE_TOKENS_FILE", value_name = "FILE")]
    pub(crate) brake_tokens_file: Option<String>,
    /// Address that is told what becomes of rollouts, one signed request each
    #[arg(long, env = "SLUICE_NOTIFY_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) notify_url: Option<String>,
    /// File with the secret that those requests are signed with: `whsec_` and base64, or plain text
    #[arg(long, env = "SLUICE_NOTIFY_SECRET_FILE", value_name = "FILE")]
    pub(crate) notify_secret_file: Option<String>,
    /// Their form: `cloud-events` or `slack` [default: cloud-events]
    #[arg(long, env = "SLUICE_NOTIFY_FORM", value_name = "FORM")]
    pub(crate) notify_form: Option<String>,
    /// Certificate chain for the device address, PEM; read again when it changes
    #[arg(long, env = "SLUICE_TLS_CERT_FILE", value_name = "FILE")]
    pub(crate) tls_cert_file: Option<String>,
    /// Private key for the device address, PEM
    #[arg(long, env = "SLUICE_TLS_KEY_FILE", value_name = "FILE")]
    pub(crate) tls_key_file: Option<String>,
    /// Connections of devices at one time [default: 10000]
    #[arg(long, env = "SLUICE_MAX_CONNECTIONS", value_name = "N")]
    pub(crate) max_connections: Option<String>,
    /// User name for Git over https
    #[arg(long, env = "SLUICE_GIT_USERNAME", value_name = "NAME")]
    pub(crate) git_username: Option<String>,
    /// File with the password or token for Git over https
    #[arg(long, env = "SLUICE_GIT_PASSWORD_FILE", value_name = "FILE")]
    pub(crate) git_password_file: Option<String>,
    /// File with the private key for Git over SSH
    #[arg(long, env = "SLUICE_GIT_SSH_KEY_FILE", value_name = "FILE")]
    pub(crate) git_ssh_key_file: Option<String>,
    /// File with the host keys that are accepted over SSH, as ssh-keyscan prints them
    #[arg(long, env = "SLUICE_GIT_KNOWN_HOSTS_FILE", value_name = "FILE")]
    pub(crate) git_known_hosts_file: Option<String>,
    /// File with certificates, PEM, that are trusted for Git over https beside the system's
    #[arg(long, env = "SLUICE_GIT_CA_FILE", value_name = "FILE")]
    pub(crate) git_ca_file: Option<String>,
    /// Proxy for Git over https; `auto` takes it from the environment
    #[arg(long, env = "SLUICE_GIT_PROXY", value_name = "URL|auto")]
    pub(crate) git_proxy: Option<String>,
    /// Let `https` bundle sources reach private addresses: true or false [default: false]
    #[arg(long, env = "SLUICE_ALLOW_PRIVATE_SOURCES", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) allow_private_sources: Option<String>,
    /// YAML file with settings, each under its flag's name
    #[arg(long, env = "SLUICE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// What is logged: error, warn, info, debug, trace, or a filter such as `sluice_repo=debug` [default: info]
    #[arg(long, env = "SLUICE_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// How it is logged: `text` or `json` [default: text on a terminal, json elsewhere]
    #[arg(long, env = "SLUICE_LOG_FORMAT", value_name = "FORMAT")]
    pub(crate) log_format: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Directory with releases and channels
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Git revision to compare with: finds a version that is used again with other bytes
    #[arg(long, value_name = "REV")]
    pub(crate) base: Option<String>,
    /// How problems are printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// App ids that may be published, `*` for any run of characters [default: every app]
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    pub(crate) apps: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// One JSON array
    Json,
    /// Annotations of GitHub Actions
    Github,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

/// How to reach a running server, on this machine, elsewhere or in a cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct AdminArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// How to reach a running server on this machine or at an address.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ServerArgs {
    /// Data directory of the server; its address and token are read from there
    #[arg(long, env = "SLUICE_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Admin address, instead of the one in the data directory
    #[arg(long, env = "SLUICE_ADMIN_URL", value_name = "URL")]
    pub(crate) admin_url: Option<String>,
    /// File with the token, instead of the one in the data directory
    #[arg(long, env = "SLUICE_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = StatusOutput::Text)]
    pub(crate) output: StatusOutput,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusOutput {
    /// For people
    Text,
    /// As the API answers it
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Channel: its name, the name of its object, or `<app>/<channel>`
    #[arg(value_name = "CHANNEL")]
    pub(crate) channel: String,
    /// What is waited for; when the other one comes, it ends with exit code 1
    #[arg(long = "for", value_enum, default_value_t = WaitFor::Complete)]
    pub(crate) end: WaitFor,
    /// Version: what the channel does before Git asks for this one is no answer
    #[arg(long, value_name = "VERSION")]
    pub(crate) release: Option<String>,
    /// How long; then it ends with exit code 1
    #[arg(long, default_value = "30m", value_name = "DURATION")]
    pub(crate) timeout: String,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

/// How a rollout ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitFor {
    /// Everybody is offered what Git asks for
    Complete,
    /// It was braked
    Braked,
}

impl std::fmt::Display for WaitFor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Complete => "complete",
            Self::Braked => "braked",
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    /// The device's request as JSON, from a file or `-`; the other options overwrite its fields
    #[arg(long, value_name = "FILE")]
    pub(crate) request: Option<PathBuf>,
    /// App id
    #[arg(long, value_name = "ID")]
    pub(crate) app: Option<String>,
    /// Device id; without it, a device that nothing is known of
    #[arg(long, value_name = "ID")]
    pub(crate) device: Option<String>,
    /// ios, android or electron
    #[arg(long, value_name = "NAME", value_parser = ["ios", "android", "electron"])]
    pub(crate) platform: Option<String>,
    /// Native version of the app
    #[arg(long, value_name = "VERSION")]
    pub(crate) native: Option<String>,
    /// Version of the bundle that it runs [default: builtin]
    #[arg(long, value_name = "VERSION")]
    pub(crate) running: Option<String>,
    /// Version of the updater plugin
    #[arg(long, value_name = "VERSION")]
    pub(crate) plugin: Option<String>,
    /// Channel that the device asks for
    #[arg(long, value_name = "NAME")]
    pub(crate) channel: Option<String>,
    /// Version of its operating system
    #[arg(long, value_name = "VERSION")]
    pub(crate) os: Option<String>,
    /// The id that the app gave it
    #[arg(long, value_name = "ID")]
    pub(crate) custom_id: Option<String>,
    /// Its language, as a trusted proxy would pass it
    #[arg(long, value_name = "LANGUAGE")]
    pub(crate) locale: Option<String>,
    /// Its country, as a trusted proxy would pass it
    #[arg(long, value_name = "LETTERS")]
    pub(crate) country: Option<String>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = StatusOutput::Text)]
    pub(crate) output: StatusOutput,
}

#[derive(Debug, Args)]
pub(crate) struct ClientConfigArgs {
    /// App id
    #[arg(long, value_name = "ID")]
    pub(crate) app: String,
    /// How devices reach the server
    #[arg(long, value_name = "URL")]
    pub(crate) server: String,
    /// Channel that this build asks for; without it, the public channel of its platform
    #[arg(long, value_name = "NAME")]
    pub(crate) channel: Option<String>,
    /// When an update is installed
    #[arg(long, value_enum, default_value_t = UpdateMode::Background)]
    pub(crate) mode: UpdateMode,
    /// File format
    #[arg(long, value_enum, default_value_t = ConfigFormat::Ts)]
    pub(crate) format: ConfigFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UpdateMode {
    /// Download while the app is used, install when it goes to the background
    Background,
    /// Like `background`, but at once in the first start after an install or a store update
    AtInstall,
    /// At once in every cold start, else like `background`
    AtLaunch,
    /// At once whenever the app comes to the foreground
    Always,
    /// The app's own code checks, downloads and installs
    Manual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConfigFormat {
    /// `capacitor.config.ts`
    Ts,
    /// `capacitor.config.json`
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// For which shell; `kubectl` for the plugin `kubectl sluice` in any shell that kubectl completes
    #[arg(value_enum)]
    pub(crate) shell: CompletionsShell,
}

/// What completes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompletionsShell {
    Bash,
    Elvish,
    Fish,
    #[value(name = "powershell")]
    PowerShell,
    Zsh,
    Kubectl,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// The project's root
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) root: PathBuf,
    /// Write nothing; fail when a file is not as it would be written
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckHealthArgs {
    /// Address that must answer 2xx; one that ends with /updates is asked as a device asks
    #[arg(long, value_name = "URL", required = true)]
    pub(crate) url: Vec<String>,
    /// How long to wait for each
    #[arg(long, default_value = "60s", value_name = "DURATION")]
    pub(crate) timeout: String,
}
