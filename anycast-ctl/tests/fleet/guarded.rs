//! A bus that takes known gateways alone: by TLS with certificates of an authority, and by credentials.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde_json::{Value, json};
use xtask::{kernel_tests::Suite, net::wait, process};

use super::{
    nats::{self, Nats},
    sessions::REST,
    site::{Plan, SOON, Site, bus},
};

const GATEWAYS: usize = 3;
/// The last of them is refused.
const REFUSED: usize = GATEWAYS - 1;

pub fn tests(suite: Suite) -> Suite {
    let name = "gateways meet by TLS and credentials, and who lacks one of them stays alone";
    if process::find("openssl").is_none() {
        let why = "openssl is not installed (apt-get install openssl)";
        return suite.ignored(name, why);
    }
    nats::test(suite, name, || {
        let mut site = Site::network(Plan {
            gateways: GATEWAYS,
            members: 1,
            clients: 1,
            fleet: Some(String::new()),
            ..Plan::default()
        })?;
        let result = guarded(&mut site);
        result.with_context(|| site.logs())
    })
}

fn guarded(site: &mut Site) -> Result<()> {
    let files = Files::make(site.directory())?;
    let bus = Nats::configured(site, &files.server()?)?;
    site.configure(&files.gateway("ca", Some("gateway"), "known"));
    site.daemons()?;
    let all: Vec<_> = (0..GATEWAYS).collect();
    meet(site, &all)?;
    site.gateway(REFUSED)?.wait_problems(&[])?;
    for (lines, reason) in [
        (
            files.gateway("other", Some("gateway"), "known"),
            "unknown certificate authority",
        ),
        (files.gateway("ca", None, "known"), "TLS handshake error"),
        (
            files.gateway("ca", Some("stranger"), "known"),
            "TLS handshake error",
        ),
        (
            files.gateway("ca", Some("gateway"), "unknown"),
            "uthentication error",
        ),
    ] {
        let heard = bus.heard();
        site.take_gateway(REFUSED)?.end()?;
        site.configure(&lines);
        site.begin_gateway(REFUSED)?;
        // The client of NATS says that there was an error, and the server says which.
        let daemon = site.gateway_mut(REFUSED)?.process();
        let refused = daemon.wait_line(SOON, "an error", 0, |line| {
            line.contains("client error").then_some(())
        });
        refused.with_context(|| lines.clone())?;
        bus.says(reason, heard).with_context(|| lines.clone())?;
        let waits = ["fleet_disconnected", "fleet_not_ready"];
        let said = site.gateway(REFUSED)?.wait_problems(&waits);
        said.with_context(|| lines.clone())?;
        let fleet = site.gateway(REFUSED)?.ask("fleet")?;
        ensure!(fleet["connected_seconds"].is_null(), "{reason}: {fleet}");
    }
    // It waits for others no longer, and knows nothing of their sessions.
    let alone = ["fleet_disconnected", "fleet_no_snapshot"];
    site.gateway(REFUSED)?.wait_problems(&alone)?;
    meet(site, &[0, 1])?;
    // Somebody gives it a token of the account that is known, and nothing has to be started again.
    files.credentials("unknown", &files.account)?;
    meet(site, &all)
}

/// Waits until these gateways know each other, and no other.
fn meet(site: &Site, gateways: &[usize]) -> Result<()> {
    for place in gateways {
        wait::poll(SOON, REST, &format!("{place} knows the others"), || {
            let fleet = site.gateway(*place)?.ask("fleet")?;
            let peers = fleet["peers"].as_array();
            let there = peers.into_iter().flatten();
            let there = there.filter(|peer| peer["there"] == true).count();
            Ok((there == gateways.len() - 1).then_some(()))
        })?;
    }
    Ok(())
}

/// Keys, certificates and tokens, as an operator makes them.
struct Files {
    directory: PathBuf,
    operator: KeyPair,
    account: KeyPair,
}

impl Files {
    fn make(directory: &Path) -> Result<Self> {
        let files = Self {
            directory: directory.to_owned(),
            operator: KeyPair::new_operator(),
            account: KeyPair::new_account(),
        };
        for authority in ["ca", "other"] {
            files.authority(authority)?;
        }
        let name = format!("subjectAltName=IP:{}", bus(0));
        for (file, authority) in [("server", "ca"), ("gateway", "ca"), ("stranger", "other")] {
            files.certificate(file, authority, &name)?;
        }
        files.credentials("known", &files.account)?;
        files.credentials("unknown", &KeyPair::new_account())?;
        Ok(files)
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// An authority that certifies others.
    fn authority(&self, name: &str) -> Result<()> {
        let [key, certificate] = self.pair(name);
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            &key,
            "-out",
            &certificate,
        ])
    }

    /// The files of a key and of its certificate.
    fn pair(&self, name: &str) -> [String; 2] {
        ["key", "pem"].map(|kind| self.path(&format!("{name}.{kind}")))
    }

    fn certificate(&self, name: &str, authority: &str, extension: &str) -> Result<()> {
        let [key, certificate] = self.pair(name);
        let [authority_key, authority] = self.pair(authority);
        let (request, extensions) = (self.path("request"), self.path("extensions"));
        openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            &key,
            "-out",
            &request,
        ])?;
        fs::write(&extensions, extension)?;
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &authority,
            "-CAkey",
            &authority_key,
            "-set_serial",
            "1",
            "-days",
            "2",
            "-extfile",
            &extensions,
            "-out",
            &certificate,
        ])
    }

    /// What nats-server reads.
    fn server(&self) -> Result<String> {
        let [key, certificate] = self.pair("server");
        let [_, authority] = self.pair("ca");
        let (operator, account) = (self.operator.public_key(), self.account.public_key());
        let no_limit = [
            "subs", "data", "payload", "imports", "exports", "conn", "leaf",
        ];
        let limits: serde_json::Map<_, _> = no_limit
            .iter()
            .map(|name| ((*name).to_owned(), json!(-1)))
            .collect();
        let of_operator = token(&self.operator, &operator, &json!({"type": "operator"}))?;
        let of_account = json!({"type": "account", "limits": limits});
        let of_account = token(&self.operator, &account, &of_account)?;
        Ok(format!(
            "listen: \"[{}]:4222\"\n\
             tls {{ cert_file: \"{certificate}\", key_file: \"{key}\", ca_file: \"{authority}\", verify: true }}\n\
             operator: {of_operator}\nresolver: MEMORY\nresolver_preload: {{ {account}: {of_account} }}\n",
            bus(0)
        ))
    }

    /// A file as of `nsc generate creds`, with the permissions that the documents ask for.
    fn credentials(&self, name: &str, account: &KeyPair) -> Result<()> {
        let user = KeyPair::new_user();
        let allowed = json!({"allow": ["anycast.fleet.>"]});
        let rights = json!({
            "type": "user", "pub": allowed, "sub": allowed, "subs": -1, "data": -1, "payload": -1,
        });
        let token = token(account, &user.public_key(), &rights)?;
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            user.seed()?
        );
        Ok(fs::write(self.path(&format!("{name}.creds")), text)?)
    }

    /// What a gateway is told.
    fn gateway(&self, authority: &str, certificate: Option<&str>, credentials: &str) -> String {
        let [_, authority] = self.pair(authority);
        let mut lines = format!(
            "servers = [\"tls://[{}]:4222\"]\nauthorities = \"{authority}\"\ncredentials = \"{}\"\n",
            bus(0),
            self.path(&format!("{credentials}.creds"))
        );
        if let Some(name) = certificate {
            let [key, certificate] = self.pair(name);
            lines.push_str(&format!(
                "certificate = \"{certificate}\"\nkey = \"{key}\"\n"
            ));
        }
        lines
    }
}

/// A token of NATS (a JWT) in which `issuer` says something of whoever has this key.
fn token(issuer: &KeyPair, subject: &str, says: &Value) -> Result<String> {
    let mut says = says.clone();
    says["version"] = json!(2);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = json!({
        "jti": subject, "iat": now, "iss": issuer.public_key(), "sub": subject, "name": subject,
        "nats": says,
    });
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let encode = |octets: &[u8]| BASE64URL_NOPAD.encode(octets);
    let [header, claims] = [header, claims].map(|part| encode(part.to_string().as_bytes()));
    let signed = format!("{header}.{claims}");
    let signature = encode(&issuer.sign(signed.as_bytes())?);
    Ok(format!("{signed}.{signature}"))
}

fn openssl(arguments: &[&str]) -> Result<()> {
    let output = Command::new("openssl").args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "openssl {arguments:?}: {said}");
    Ok(())
}
