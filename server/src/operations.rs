//! The operations database: what is not about images. SQLite in the data directory by default, PostgreSQL by
//! configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use formats::digest::Sha256;
use formats::name::Name;
use formats::time::Timestamp;
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{AnyPool, Row};
use tokio::sync::OnceCell;

use crate::data::DataDir;
use crate::token::{Scope, Secret, Token};

/// The database. Clones share connections.
///
/// ```text
/// rootcellar_token_v1(name, digest, images, channel, created, expires, revoked, used)     times in seconds since 1970
/// ```
#[derive(Clone, Debug)]
pub struct Operations {
    pool: AnyPool,
    prepared: Arc<OnceCell<()>>,
}

impl Operations {
    /// The database of a data directory, or the one at `url` (`postgres://USER:PASSWORD@HOST/NAME`). Nothing is
    /// connected to before it is needed.
    pub fn new(data: &DataDir, url: Option<&str>) -> Result<Self, OperationsError> {
        sqlx::any::install_default_drivers();
        let own;
        let url = if let Some(url) = url {
            if !["postgres://", "postgresql://", "sqlite:"].iter().any(|scheme| url.starts_with(scheme)) {
                return Err(OperationsError::Scheme);
            }
            url
        } else {
            own = own_url(data)?;
            &own
        };
        let options = AnyPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE);
        let pool = options.connect_lazy(url).map_err(OperationsError::Database)?;
        Ok(Self { pool, prepared: Arc::default() })
    }

    /// Makes what is missing. PostgreSQL refuses the second of two processes that make one table at once, with one of
    /// several errors; by then the first is done.
    async fn prepare(&self) -> Result<(), OperationsError> {
        let make = async || match sqlx::query(SCHEMA).execute(&self.pool).await {
            Ok(_) => Ok(()),
            Err(sqlx::Error::Database(error))
                if error.is_unique_violation() || error.code().is_some_and(|code| IS_THERE.contains(&&*code)) =>
            {
                Ok(())
            }
            Err(error) => Err(OperationsError::Database(error)),
        };
        self.prepared.get_or_try_init(make).await.copied()
    }

    /// Adds a token.
    pub async fn add_token(&self, token: &Token, secret: &Secret) -> Result<(), OperationsError> {
        self.prepare().await?;
        let query = sqlx::query(
            "INSERT INTO rootcellar_token_v1 (name, digest, images, channel, created, expires) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        );
        let query = query.bind(token.name.to_string()).bind(secret.digest().to_string());
        let query = query.bind(token.scope.images.to_string()).bind(token.scope.channel.to_string());
        let query = query.bind(token.created.unix()).bind(token.expires.map(Timestamp::unix));
        match query.execute(&self.pool).await {
            Ok(_) => Ok(()),
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                Err(OperationsError::Taken { name: token.name.clone() })
            }
            Err(error) => Err(OperationsError::Database(error)),
        }
    }

    /// Every token, by name.
    pub async fn tokens(&self) -> Result<Vec<Token>, OperationsError> {
        self.prepare().await?;
        let query = format!("SELECT {COLUMNS} FROM rootcellar_token_v1 ORDER BY name");
        let rows = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(&self.pool).await;
        rows.map_err(OperationsError::Database)?.iter().map(token).collect()
    }

    /// The token of a secret, valid or not.
    pub async fn token(&self, secret: &Secret) -> Result<Option<Token>, OperationsError> {
        self.prepare().await?;
        self.token_by_digest(&secret.digest()).await
    }

    async fn token_by_digest(&self, digest: &Sha256) -> Result<Option<Token>, OperationsError> {
        let query = format!("SELECT {COLUMNS} FROM rootcellar_token_v1 WHERE digest = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(query)).bind(digest.to_string()).fetch_optional(&self.pool).await;
        row.map_err(OperationsError::Database)?.as_ref().map(token).transpose()
    }

    /// Takes note that a token was used.
    pub async fn note_used(&self, name: &Name, now: Timestamp) -> Result<(), OperationsError> {
        let query = sqlx::query("UPDATE rootcellar_token_v1 SET used = $1 WHERE name = $2");
        let done = query.bind(now.unix()).bind(name.to_string()).execute(&self.pool).await;
        done.map(|_| ()).map_err(OperationsError::Database)
    }

    /// Ends the validity of a token, for good; false when it had ended before.
    pub async fn revoke_token(&self, name: &Name, now: Timestamp) -> Result<bool, OperationsError> {
        if !self.tokens().await?.iter().any(|token| token.name == *name) {
            return Err(OperationsError::NoToken { name: name.clone() });
        }
        let query = sqlx::query("UPDATE rootcellar_token_v1 SET revoked = $1 WHERE name = $2 AND revoked IS NULL");
        let done = query.bind(now.unix()).bind(name.to_string()).execute(&self.pool).await;
        Ok(done.map_err(OperationsError::Database)?.rows_affected() > 0)
    }
}

/// Why the database did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum OperationsError {
    /// An address of another kind.
    #[error("the address of the operations database is none that is known: expected `postgres://…` or `sqlite:…`")]
    Scheme,
    /// A name that another token has, or had.
    #[error("there is a token `{name}` already")]
    Taken {
        /// The name.
        name: Name,
    },
    /// No token of this name.
    #[error("there is no token `{name}`")]
    NoToken {
        /// The name.
        name: Name,
    },
    /// A row that does not hold what it should.
    #[error("the operations database is damaged: column `{column}` of a token")]
    Damaged {
        /// The column.
        column: &'static str,
    },
    /// The database itself.
    #[error("the operations database does not answer")]
    Database(#[source] sqlx::Error),
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl OperationsError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Taken { .. } | Self::NoToken { .. } => {
                Some("`rootcellar-server token list` shows every token; names are not used again".to_owned())
            }
            Self::Database(_) => Some("check `database` of the configuration, and whether it runs".to_owned()),
            Self::Scheme | Self::Damaged { .. } | Self::Io(_) => None,
        }
    }

    /// Whether the input is to blame, and not the machine.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Scheme | Self::Taken { .. } | Self::NoToken { .. })
    }
}

/// The file exists before SQLite opens it, so that nobody else ever reads it.
fn own_url(data: &DataDir) -> Result<String, OperationsError> {
    let path: PathBuf = data.operations();
    fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
    let encoded: String = path.as_os_str().as_encoded_bytes().iter().map(|byte| encoded(*byte)).collect();
    Ok(format!("sqlite://{encoded}?mode=rw"))
}

fn encoded(byte: u8) -> String {
    let is_plain = byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
    if is_plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}

fn token(row: &AnyRow) -> Result<Token, OperationsError> {
    fn text<T: std::str::FromStr>(row: &AnyRow, column: &'static str) -> Result<T, OperationsError> {
        let text: Option<String> = row.try_get(column).ok();
        text.and_then(|text| text.parse().ok()).ok_or(OperationsError::Damaged { column })
    }
    let time = |column| -> Result<Option<Timestamp>, OperationsError> {
        let seconds: Option<i64> = row.try_get(column).map_err(|_| OperationsError::Damaged { column })?;
        Ok(seconds.map(Timestamp::from_unix))
    };
    Ok(Token {
        name: text(row, "name")?,
        scope: Scope { images: text(row, "images")?, channel: text(row, "channel")? },
        created: time("created")?.ok_or(OperationsError::Damaged { column: "created" })?,
        expires: time("expires")?,
        revoked: time("revoked")?,
        used: time("used")?,
    })
}

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS rootcellar_token_v1 (\
    name TEXT NOT NULL PRIMARY KEY, digest TEXT NOT NULL UNIQUE, images TEXT NOT NULL, channel TEXT NOT NULL, \
    created BIGINT NOT NULL, expires BIGINT, revoked BIGINT, used BIGINT)";
const COLUMNS: &str = "name, images, channel, created, expires, revoked, used";
/// The SQLSTATEs of PostgreSQL for a table that is there, and for the type of its rows.
const IS_THERE: [&str; 2] = ["42P07", "42710"];
const CONNECTIONS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_found_by_its_secret_until_it_is_revoked_and_its_name_is_not_used_again() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(&directory.path().join("a name with spaces, % and ?")).unwrap();
        let operations = Operations::new(&data, None).unwrap();
        let secret = Secret::generate().unwrap();
        let made = Token {
            name: "builder1".parse().unwrap(),
            scope: Scope { images: "debian/*/*/*".parse().unwrap(), channel: "staging".parse().unwrap() },
            created: Timestamp::from_unix(1000),
            expires: Some(Timestamp::from_unix(2000)),
            revoked: None,
            used: None,
        };
        operations.add_token(&made, &secret).await.unwrap();
        assert_eq!(operations.token(&secret).await.unwrap().unwrap(), made);
        assert_eq!(operations.token(&Secret::generate().unwrap()).await.unwrap(), None);
        assert!(made.is_valid(Timestamp::from_unix(1999)) && !made.is_valid(Timestamp::from_unix(2000)));
        let again = operations.add_token(&made, &Secret::generate().unwrap()).await;
        assert!(matches!(again, Err(OperationsError::Taken { .. })), "{again:?}");
        operations.note_used(&made.name, Timestamp::from_unix(1500)).await.unwrap();
        assert!(operations.revoke_token(&made.name, Timestamp::from_unix(1600)).await.unwrap());
        assert!(!operations.revoke_token(&made.name, Timestamp::from_unix(1700)).await.unwrap());
        let revoked = operations.token(&secret).await.unwrap().unwrap();
        assert!(!revoked.is_valid(Timestamp::from_unix(1000)));
        assert_eq!(
            (revoked.used, revoked.revoked),
            (Some(Timestamp::from_unix(1500)), Some(Timestamp::from_unix(1600)))
        );
        let unknown = operations.revoke_token(&"none".parse().unwrap(), Timestamp::from_unix(1)).await;
        assert!(matches!(unknown, Err(OperationsError::NoToken { .. })));
        let stored = fs::read(data.operations()).unwrap();
        assert!(!stored.windows(64).any(|window| window == &secret.expose().as_bytes()[4..]), "the secret is stored");
    }
}
