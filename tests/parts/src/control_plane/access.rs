//! Who may ask the API server: its certificate, the administrator, and the tokens of service accounts.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use rand::distr::{Alphanumeric, SampleString as _};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use super::ControlPlane;
use crate::{folder::Folder, proxy::Proxy};

/// Longer than any run of tests.
const TOKEN_LIFE: i64 = 24 * 3_600;

/// The administrator's way in.
pub(super) struct Access {
    pub(super) url: String,
    pub(super) ca_pem: String,
    pub(super) kubeconfig: PathBuf,
    config: Config,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Access {
    /// Makes keys, certificates and the administrator's token, as files for the API server.
    pub(super) async fn new(folder: &Folder, address: SocketAddr) -> Self {
        let ca_pem = certificate(folder).unwrap_or_else(|error| panic!("a certificate: {error}"));
        let signing = KeyPair::generate().unwrap_or_else(|error| panic!("a key: {error}"));
        folder.write("sa.key", signing.serialize_pem());
        folder.write("sa.pub", signing.public_key_pem());
        let token = Alphanumeric.sample_string(&mut rand::rng(), 32);
        folder.write("tokens.csv", format!("{token},admin,admin,system:masters\n"));

        let url = format!("https://{address}");
        let content = kubeconfig(&url, &ca_pem, &token);
        let kubeconfig = folder.write("admin.kubeconfig", content.to_string());
        Self { config: config(&kubeconfig).await, url, ca_pem, kubeconfig }
    }

    pub(super) fn client(&self) -> Client {
        Client::try_from(self.config.clone()).unwrap_or_else(|error| panic!("a client: {error}"))
    }
}

impl ControlPlane {
    /// A kubeconfig with the token of a service account, which must exist, and its namespace as the default one.
    pub async fn kubeconfig_for(&self, namespace: &str, service_account: &str) -> PathBuf {
        let token = self.token_for(namespace, service_account, &[]).await;
        let mut content = kubeconfig(self.url(), self.ca_pem(), &token);
        content["contexts"][0]["context"]["namespace"] = json!(namespace);
        self.write_kubeconfig(&content)
    }

    /// A token of a service account, which must exist: for these audiences, or for the API server when there are none.
    pub async fn token_for(&self, namespace: &str, service_account: &str, audiences: &[&str]) -> String {
        let spec = TokenRequestSpec {
            audiences: audiences.iter().map(|&audience| audience.to_owned()).collect(),
            expiration_seconds: Some(TOKEN_LIFE),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer = Api::<ServiceAccount>::namespaced(self.client(), namespace)
            .create_token_request(service_account, &PostParams::default(), &request)
            .await;
        let answer =
            answer.unwrap_or_else(|error| panic!("a token of {namespace}/{service_account}: {error}"));
        answer.status.expect("the server answers with a status").token
    }

    /// A kubeconfig like this one, whose connections go through the proxy.
    pub fn kubeconfig_via(&self, proxy: &Proxy, kubeconfig: &Path) -> PathBuf {
        let text =
            std::fs::read(kubeconfig).unwrap_or_else(|error| panic!("{}: {error}", kubeconfig.display()));
        let mut content: Value = serde_json::from_slice(&text)
            .unwrap_or_else(|error| panic!("{} is none of this crate's: {error}", kubeconfig.display()));
        content["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", proxy.address()));
        self.write_kubeconfig(&content)
    }

    /// A client for a kubeconfig that this crate wrote. It belongs to the runtime that it is made in.
    pub async fn client_of(&self, kubeconfig: &Path) -> Client {
        Client::try_from(config(kubeconfig).await).unwrap_or_else(|error| panic!("a client: {error}"))
    }

    fn write_kubeconfig(&self, content: &Value) -> PathBuf {
        let name = Alphanumeric.sample_string(&mut rand::rng(), 8);
        self.folder.write(&format!("{name}.kubeconfig"), content.to_string())
    }
}

/// Writes a certificate for the loopback address, and gives the authority that signed it.
fn certificate(folder: &Folder) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "tests");
    let key = KeyPair::generate()?;
    let ca_pem = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);

    let key = KeyPair::generate()?;
    let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(str::to_owned);
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    folder.write("apiserver.crt", certificate.pem());
    folder.write("apiserver.key", key.serialize_pem());
    folder.write("ca.crt", &ca_pem);
    Ok(ca_pem)
}

/// Every JSON text is also YAML.
fn kubeconfig(url: &str, ca_pem: &str, token: &str) -> Value {
    let ca = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, ca_pem);
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority-data": ca}}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    })
}

/// Reads this file and nothing else: no variable and no home folder.
async fn config(kubeconfig: &Path) -> Config {
    let read = Kubeconfig::read_from(kubeconfig);
    let read = read.unwrap_or_else(|error| panic!("{}: {error}", kubeconfig.display()));
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    config.unwrap_or_else(|error| panic!("{}: {error}", kubeconfig.display()))
}
