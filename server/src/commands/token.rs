//! `rootcellar-server token`.

use std::future::Future;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use formats::name::Name;
use formats::time::{Span, Timestamp};
use serde_json::json;
use terminal::{ExitStatus, OutputFormat, Table};

use crate::channel::Channel;
use crate::cli::Context;
use crate::config::Config;
use crate::error::Error;
use crate::operations::Operations;
use crate::token::{ImageGlob, Scope, Secret, Token};

/// Make, list and revoke the tokens that builders upload with.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token. It is shown once, on stdout; the server keeps only its digest.
    Create(CreateArgs),
    /// List the tokens.
    List(ListArgs),
    /// End the validity of a token, for good.
    Revoke(RevokeArgs),
}

/// What `token create` takes.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What to call it.
    name: Name,

    /// The images it may upload, `*` for any one part: `debian/*/*/default`; `*` alone is every image.
    #[arg(long, value_name = "PATTERN")]
    images: ImageGlob,

    /// The channel it may offer them in.
    #[arg(long, default_value = Channel::STAGING)]
    channel: Name,

    /// For how long it is valid [default: until it is revoked].
    #[arg(long, value_name = "SPAN")]
    validity: Option<Span>,

    #[command(flatten)]
    database: DatabaseArgs,
}

/// What `token list` takes.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Write a table for people or JSON for programs.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,

    #[command(flatten)]
    database: DatabaseArgs,
}

/// What `token revoke` takes.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The token, by what it is called.
    name: Name,

    #[command(flatten)]
    database: DatabaseArgs,
}

/// Where the operations database is.
#[derive(Debug, Args)]
pub struct DatabaseArgs {
    /// Use this database, `postgres://USER:PASSWORD@HOST/NAME` [default: SQLite in the data directory].
    #[arg(long, value_name = "URL", env = "ROOTCELLAR_SERVER_DATABASE", hide_env_values = true)]
    database: Option<String>,

    /// Read the defaults from this configuration file.
    #[arg(long, value_name = "FILE", env = "ROOTCELLAR_SERVER_CONFIG")]
    config: Option<PathBuf>,
}

impl DatabaseArgs {
    fn open(&self, context: &Context) -> Result<Operations, Error> {
        let config = self.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        Ok(Operations::new(&context.data, self.database.clone().or(config.database).as_deref())?)
    }
}

/// Runs `rootcellar-server token`.
pub fn run(command: &TokenCommand, context: &Context) -> Result<ExitStatus, Error> {
    wait(async {
        match command {
            TokenCommand::Create(args) => create(args, context).await,
            TokenCommand::List(args) => list(args, context).await,
            TokenCommand::Revoke(args) => revoke(args, context).await,
        }
    })?
}

async fn create(args: &CreateArgs, context: &Context) -> Result<ExitStatus, Error> {
    let operations = args.database.open(context)?;
    let secret = Secret::generate().map_err(std::io::Error::other)?;
    let scope = Scope { images: args.images.clone(), channel: args.channel.clone() };
    let (created, expires) = (context.now(), args.validity.map(|validity| context.now() + validity));
    let token = Token { name: args.name.clone(), scope, created, expires, revoked: None, used: None };
    operations.add_token(&token, &secret).await?;
    let until = expires.map(|expires| format!(", until {expires}")).unwrap_or_default();
    context.printer.say(format_args!(
        "Made the token `{}` for {} in channel {}{until}. It is shown only now:",
        token.name, token.scope.images, token.scope.channel
    ));
    context.printer.data(secret.expose());
    Ok(ExitStatus::Done)
}

async fn list(args: &ListArgs, context: &Context) -> Result<ExitStatus, Error> {
    let tokens = args.database.open(context)?.tokens().await?;
    let mut table = Table::new(["TOKEN", "IMAGES", "CHANNEL", "STATE", "CREATED", "LAST USED"]);
    let mut rows = Vec::new();
    let time = |time: Option<Timestamp>| time.map_or_else(String::new, |time| time.to_string());
    for token in &tokens {
        let state = match (token.revoked, token.expires) {
            (Some(revoked), _) => format!("revoked {revoked}"),
            (None, Some(expires)) if expires <= context.now() => format!("ended {expires}"),
            (None, Some(expires)) => format!("valid until {expires}"),
            (None, None) => "valid".to_owned(),
        };
        let (images, channel) = (token.scope.images.to_string(), token.scope.channel.to_string());
        table.row([token.name.as_str(), &images, &channel, &state, &token.created.to_string(), &time(token.used)]);
        rows.push(json!({
            "name": token.name, "images": images, "channel": channel, "valid": token.is_valid(context.now()),
            "created": token.created, "expires": token.expires, "revoked": token.revoked, "used": token.used,
        }));
    }
    context.printer.listing(args.format, &table, &rows);
    Ok(ExitStatus::Done)
}

async fn revoke(args: &RevokeArgs, context: &Context) -> Result<ExitStatus, Error> {
    let is_new = args.database.open(context)?.revoke_token(&args.name, context.now()).await?;
    let what = if is_new { "is revoked" } else { "was revoked before" };
    context.printer.say(format_args!("The token `{}` {what}", args.name));
    Ok(ExitStatus::Done)
}

fn wait<T>(work: impl Future<Output = T>) -> Result<T, Error> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work))
}
