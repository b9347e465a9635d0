//! A file with a token and key for servers of NATS. It is read at each connection: tokens are good for a time, and
//! somebody puts another one there before it is over.

use std::{
    io::{Error, ErrorKind},
    path::Path,
};

use async_nats::Auth;
use nkeys::KeyPair;
use zeroize::Zeroizing;

/// What a server wants to see of who signs its `nonce`.
///
/// # Errors
///
/// When the file cannot be read, or is none of this kind.
pub(super) async fn sign(file: &Path, nonce: &[u8]) -> Result<Auth, Error> {
    let text = Zeroizing::new(tokio::fs::read_to_string(file).await?);
    let odd = |what: String| {
        Error::new(
            ErrorKind::InvalidData,
            format!("{}: {what}", file.display()),
        )
    };
    let (token, seed) = parse(&text).ok_or_else(|| odd("no token with a key".to_owned()))?;
    let key = KeyPair::from_seed(seed).map_err(|error| odd(error.to_string()))?;
    let signature = key.sign(nonce).map_err(|error| odd(error.to_string()))?;
    let mut auth = Auth::new();
    auth.jwt = Some(token.to_owned());
    auth.signature = Some(signature);
    Ok(auth)
}

/// The token and the seed of the key, each after a line that says that it begins.
fn parse(text: &str) -> Option<(&str, &str)> {
    let mut lines = text.lines().map(str::trim);
    let mut next = || {
        lines.find(|line| line.starts_with("---") && line.contains("BEGIN"))?;
        lines.find(|line| !line.is_empty())
    };
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may abort")]

    use std::fs;

    use super::*;

    fn text(token: &str, key: &KeyPair) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            key.seed().unwrap()
        )
    }

    #[tokio::test]
    async fn the_file_is_read_each_time() {
        let file = std::env::temp_dir().join(format!("credentials-{}", std::process::id()));
        let (old, new) = (KeyPair::new_user(), KeyPair::new_user());
        for (token, key, other) in [("old", &old, &new), ("new", &new, &old)] {
            fs::write(&file, text(token, key)).unwrap();
            let auth = sign(&file, b"a nonce").await.unwrap();
            assert_eq!(auth.jwt.as_deref(), Some(token));
            let signature = auth.signature.unwrap();
            assert!(key.verify(b"a nonce", &signature).is_ok());
            assert!(other.verify(b"a nonce", &signature).is_err());
        }
        let whole = text("new", &new);
        for odd in [
            "",
            "new",
            &whole[..whole.len() / 2],
            &whole.replace('S', "T"),
        ] {
            fs::write(&file, odd).unwrap();
            let error = sign(&file, b"a nonce").await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{odd}");
        }
        fs::remove_file(&file).unwrap();
        let error = sign(&file, b"a nonce").await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
