//! `rootcellar-server serve`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use formats::time::Span;
use terminal::ExitStatus;

use crate::cli::Context;
use crate::commands::{DEFAULT_VALIDITY, host_name, keys_for, publish};
use crate::config::Config;
use crate::error::Error;
use crate::generation::Generation;
use crate::limits::Limits;
use crate::publish::Publisher;
use crate::serve::{self, Listening, ServeError, Settings};
use crate::tls::{self, PrivateAuthority, TlsFiles, TlsSource};

/// Serve what is published, over TLS.
///
/// Needs no configuration: it makes what is missing and says what it chose. It keeps what is published fresh by
/// signing again at a quarter of the validity, and serves what other processes publish within a second.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Listen for TLS on this address [default: [::]:8443, which is every address].
    #[arg(long, value_name = "ADDR", env = "ROOTCELLAR_SERVER_LISTEN")]
    listen: Option<String>,

    /// Answer plain HTTP on the TLS port too, for templates older than LXC 4.0.12.
    #[arg(long, env = "ROOTCELLAR_SERVER_ALLOW_PLAIN")]
    allow_plain: bool,

    /// Listen for plain HTTP on this address.
    #[arg(long, value_name = "ADDR", env = "ROOTCELLAR_SERVER_PLAIN_LISTEN")]
    plain_listen: Option<String>,

    /// Listen for Prometheus on this address, over plain HTTP: `/metrics`, `/healthz`, `/readyz`.
    #[arg(long, value_name = "ADDR", env = "ROOTCELLAR_SERVER_METRICS_LISTEN")]
    metrics_listen: Option<String>,

    /// Use this certificate chain (PEM) instead of one of the private authority.
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "ROOTCELLAR_SERVER_TLS_CERT")]
    tls_cert: Option<PathBuf>,

    /// The private key of the certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "ROOTCELLAR_SERVER_TLS_KEY")]
    tls_key: Option<PathBuf>,

    /// Add a host name or address to the certificate of the private authority.
    #[arg(long = "name", value_name = "NAME", value_delimiter = ',', env = "ROOTCELLAR_SERVER_NAMES")]
    names: Vec<String>,

    /// Keep tokens in this database, `postgres://USER:PASSWORD@HOST/NAME` [default: SQLite in the data directory].
    #[arg(long, value_name = "URL", env = "ROOTCELLAR_SERVER_DATABASE", hide_env_values = true)]
    database: Option<String>,

    /// How long clients may use what this server signs [default: 2d].
    #[arg(long, env = "ROOTCELLAR_SERVER_VALIDITY")]
    validity: Option<Span>,

    /// Read this configuration file.
    #[arg(long, value_name = "FILE", env = "ROOTCELLAR_SERVER_CONFIG")]
    config: Option<PathBuf>,

    /// Write the URL into FILE once connections are accepted.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// Runs `rootcellar-server serve` until the process is asked to stop.
pub fn run(args: &ServeArgs, context: &Context) -> Result<ExitStatus, Error> {
    let config = args.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
    let validity = args.validity.or(config.validity).unwrap_or(DEFAULT_VALIDITY);
    let listen = args.listen.clone().or(config.listen.clone());
    let names = names(args, &config, listen.as_deref())?;
    let source = match (args.tls_cert.clone().zip(args.tls_key.clone()), config.tls_cert.zip(config.tls_key)) {
        (Some((certificate, key)), _) | (None, Some((certificate, key))) => {
            TlsSource::Given(TlsFiles { certificate, key })
        }
        (None, None) => TlsSource::Private,
    };

    let (mut publisher, keys, tls, authority);
    {
        let writer = context.data.write(&context.printer)?;
        keys = keys_for(&writer, context)?;
        publisher = Publisher::new(&context.data);
        let current = Generation::current(&writer)?.map(|current| current.edition()).transpose()?;
        if current.is_none_or(|edition| edition.is_due(context.now())) {
            let new = publisher.publish(&writer, &keys, context.now(), validity, &context.printer)?;
            publish::announce(&new, context);
        }
        (tls, authority) = match &source {
            TlsSource::Given(files) => (files.clone(), None),
            TlsSource::Private => {
                let made = PrivateAuthority::load_or_make(&writer, &names, context.now()).map_err(ServeError::Tls)?;
                (made.files(), Some(made))
            }
        };
    }

    let settings = Settings {
        data: context.data.clone(),
        listen: listen.clone().unwrap_or_else(|| Config::DEFAULT_LISTEN.to_owned()),
        plain_listen: args.plain_listen.clone().or(config.plain_listen),
        metrics_listen: args.metrics_listen.clone().or(config.metrics_listen),
        allow_plain: args.allow_plain || config.allow_plain.unwrap_or(false),
        tls,
        fingerprint: keys.repository_fingerprint().to_string(),
        validity,
        database: args.database.clone().or(config.database),
        limits: Limits::default(),
    };
    let introduction = Introduction {
        chosen: Chosen { listen: listen.is_none(), data: !context.data_is_chosen },
        authority: authority.as_ref(),
        fingerprint: settings.fingerprint.clone(),
        allow_plain: settings.allow_plain,
        validity,
    };
    serve::run(settings, publisher, &context.printer, |listening| {
        introduce(&introduction, listening, context);
        context.printer.data(&listening.url);
        context.printer.flush()?;
        args.ready_file.as_deref().map_or(Ok(()), |path| write_ready(path, &listening.url))
    })?;
    context.printer.say("Stopped");
    Ok(ExitStatus::Done)
}

/// Every name this server can be reached by, as far as it knows.
fn names(args: &ServeArgs, config: &Config, listen: Option<&str>) -> Result<BTreeSet<String>, ServeError> {
    let given = if args.names.is_empty() { config.names.clone().unwrap_or_default() } else { args.names.clone() };
    if let Some(name) = given.iter().find(|name| !tls::is_name(name)) {
        return Err(ServeError::Name { name: name.clone() });
    }
    let address = listen.and_then(|listen| listen.parse::<std::net::SocketAddr>().ok()).map(|address| address.ip());
    let address = address.filter(|address| !address.is_unspecified()).map(|address| address.to_string());
    let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into_iter();
    Ok(own.chain(Some(host_name()).filter(|name| tls::is_name(name))).chain(address).chain(given).collect())
}

/// Scripts wait for this file, so it appears whole.
fn write_ready(path: &Path, url: &str) -> std::io::Result<()> {
    let path = std::path::absolute(path)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    crate::files::write_whole(directory, &path, format!("{url}\n").as_bytes(), 0o644)
}

struct Introduction<'a> {
    chosen: Chosen,
    authority: Option<&'a PrivateAuthority>,
    fingerprint: String,
    allow_plain: bool,
    validity: Span,
}

/// What the user left to us.
struct Chosen {
    listen: bool,
    data: bool,
}

/// Says what the server chose and how hosts come to use it.
fn introduce(introduction: &Introduction, listening: &Listening, context: &Context) {
    let say = |label: &str, text: String| context.printer.say(format_args!("{label:<30}{text}"));
    let chosen = |chosen: bool, text: String| if chosen { format!("{text}  (chosen)") } else { text };
    say("Data directory", chosen(introduction.chosen.data, context.data.root().display().to_string()));
    say("Listening for TLS", chosen(introduction.chosen.listen, listening.tls.to_string()));
    if introduction.allow_plain {
        say("", "answering plain HTTP on the same port".to_owned());
    }
    if let Some(plain) = &listening.plain {
        say("Listening for plain HTTP", plain.to_string());
    }
    if let Some(metrics) = &listening.metrics {
        say("Listening for Prometheus", metrics.to_string());
    }
    say("Validity", format!("{}, signed afresh at a quarter of it", introduction.validity));
    say("Repository key", introduction.fingerprint.clone());
    let url = &listening.url;
    let mut add = format!("rootcellar remote add NAME {url} --fingerprint {}", introduction.fingerprint);
    if let Some(authority) = introduction.authority {
        let (ca, name) = (authority.ca.display(), "rootcellar.crt");
        say("Private TLS authority", ca.to_string());
        context.printer.say("To trust it on a host, copy that file there, as CA.pem, and then");
        say(
            "  every program (as root)",
            format!("cp CA.pem /usr/local/share/ca-certificates/{name} && update-ca-certificates"),
        );
        say(
            "  lxc-create, wget only",
            "echo 'ca_certificate = /PATH/CA.pem' >> ~/.wgetrc  (or the file WGETRC names)".to_owned(),
        );
        say("  rootcellar only", "add --ca CA.pem to the line below, or set SSL_CERT_FILE".to_owned());
        add.push_str(" [--ca CA.pem]");
    }
    let host = url.trim_start_matches("https://");
    context.printer.say("To use this server");
    say("  rootcellar", add);
    say("  LXC", format!("lxc-create -t download -n NAME -- --server {host} -d DIST -r RELEASE -a ARCH"));
    say("  Incus", format!("incus remote add NAME {url} --protocol simplestreams"));
    say("Ready", url.clone());
}
