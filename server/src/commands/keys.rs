//! `rootcellar-server keys`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use formats::certificate::Certificate;
use formats::layout;
use formats::time::Span;
use fs_err as fs;
use serde_json::json;
use terminal::{ExitStatus, OutputFormat, Table};

use crate::cli::Context;
use crate::commands::{DEFAULT_VALIDITY, host_name, publish_now};
use crate::error::Error;
use crate::keys::{Keys, Role};

/// Make, show and export the signing keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make the repository key and the compat key. Keys that exist are never replaced.
    Init(InitArgs),
    /// Show the fingerprints.
    Show(ShowArgs),
    /// Give the repository key another signing subkey, let the old one expire, and publish. The fingerprint stays.
    Rotate(RotateArgs),
    /// Declare that a key is in other hands, put another in its place, and publish. It cannot be undone.
    Revoke(RevokeArgs),
    /// Write the certificates, which are public, to stdout or into a directory.
    Export(ExportArgs),
}

/// What `keys init` takes.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The owner that the keys name, such as `images.example.org` [default: the name of this host].
    #[arg(long)]
    name: Option<String>,
}

/// What `keys show` takes.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Write a table for people or JSON for programs.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

/// What `keys rotate` takes.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// How long clients may use the new generation, and what the old subkey signed.
    #[arg(long, default_value_t = DEFAULT_VALIDITY, env = "ROOTCELLAR_SERVER_VALIDITY")]
    validity: Span,
}

/// What `keys revoke` takes.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// What is in other hands.
    #[arg(value_enum)]
    what: Revoked,

    /// How long clients may use the new generation.
    #[arg(long, default_value_t = DEFAULT_VALIDITY, env = "ROOTCELLAR_SERVER_VALIDITY")]
    validity: Span,
}

/// What can be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Revoked {
    /// The signing subkeys of the repository key; the fingerprint that clients pinned stays.
    Subkey,
    /// The repository key itself: every client has to be given the new fingerprint.
    Repository,
}

/// What `keys export` takes.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Write `repository.asc`, `compat.asc` and `import-pubring.pgp`, for systemd, into this directory.
    directory: Option<PathBuf>,
}

/// Runs `rootcellar-server keys`.
pub fn run(command: &KeysCommand, context: &Context) -> Result<ExitStatus, Error> {
    match command {
        KeysCommand::Init(args) => init(args, context),
        KeysCommand::Show(args) => show(args, context),
        KeysCommand::Rotate(args) => rotate(args, context),
        KeysCommand::Revoke(args) => revoke(args, context),
        KeysCommand::Export(args) => export(args, context),
    }
}

fn init(args: &InitArgs, context: &Context) -> Result<ExitStatus, Error> {
    let writer = context.data.write(&context.printer)?;
    for role in [Role::Repository, Role::Compat].into_iter().filter(|role| role.path(&writer).exists()) {
        context
            .printer
            .say(format_args!("The {role} key exists already, and is kept: {}", role.path(&writer).display()));
    }
    let name = args.name.clone().unwrap_or_else(host_name);
    let keys = Keys::load_or_make(&writer, &name, context.now(), &context.printer)?;
    context.printer.data(format_args!("repository  {}", keys.repository_fingerprint()));
    context.printer.data(format_args!("compat      {}", keys.compat_fingerprint()));
    Ok(ExitStatus::Done)
}

fn show(args: &ShowArgs, context: &Context) -> Result<ExitStatus, Error> {
    let keys = Keys::existing(&context.data)?;
    let (repository, compat) = (keys.repository_fingerprint(), keys.compat_fingerprint());
    // A key that cannot sign any longer has no end to show; who signs with it is told.
    let until = [&keys.repository.0, &keys.compat.0].map(|key| key.signs_until(context.now()).ok().flatten());
    let [repository_until, compat_until] =
        until.map(|until| until.map_or_else(|| "-".to_owned(), |end| end.to_string()));
    let mut table = Table::new(["KEY", "FINGERPRINT", "SIGNS UNTIL", "USED FOR"]);
    let used = "index.sjson; clients pin it: rootcellar remote add";
    table.row(["repository", &repository.grouped(), &repository_until, used]);
    let used = "*.asc, *.gpg; stock templates: --keyid, gpgv, systemd";
    table.row(["compat", &compat.grouped(), &compat_until, used]);
    let [repository_until, compat_until] = until;
    let json = json!({
        "repository": repository, "repository_signs_until": repository_until,
        "compat": compat, "compat_signs_until": compat_until,
    });
    context.printer.listing(args.format, &table, &json);
    Ok(ExitStatus::Done)
}

fn rotate(args: &RotateArgs, context: &Context) -> Result<ExitStatus, Error> {
    let writer = context.data.write(&context.printer)?;
    let key = Keys::rotate(&writer, context.now(), args.validity)?;
    context.printer.say(format_args!("{:<30}of repository key {}", "Rotated the signing subkey", key.fingerprint()));
    publish_now(&writer, args.validity, context)?;
    Ok(ExitStatus::Done)
}

fn revoke(args: &RevokeArgs, context: &Context) -> Result<ExitStatus, Error> {
    let writer = context.data.write(&context.printer)?;
    let fingerprint = match args.what {
        Revoked::Subkey => Keys::revoke_subkeys(&writer, context.now())?.fingerprint(),
        Revoked::Repository => Keys::revoke_repository(&writer, context.now())?,
    };
    match args.what {
        Revoked::Subkey => context.printer.say(format_args!("Revoked the signing subkeys of {fingerprint}")),
        Revoked::Repository => {
            context.printer.warn(format_args!(
                "repository key {fingerprint} is revoked; clients must be given the new fingerprint"
            ));
        }
    }
    publish_now(&writer, args.validity, context)?;
    Ok(ExitStatus::Done)
}

fn export(args: &ExportArgs, context: &Context) -> Result<ExitStatus, Error> {
    let certificates = Keys::existing(&context.data)?.certificates();
    let armored = |certificate: &Certificate| certificate.to_armored().map_err(Error::ExportKeys);
    let Some(directory) = &args.directory else {
        for certificate in &certificates {
            context.printer.data(String::from_utf8_lossy(&armored(certificate)?).trim_end());
        }
        return Ok(ExitStatus::Done);
    };
    fs::create_dir_all(directory)?;
    let [repository, compat] = &certificates;
    let files = [
        ("repository.asc", armored(repository)?),
        ("compat.asc", armored(compat)?),
        ("import-pubring.pgp", compat.to_binary().map_err(Error::ExportKeys)?),
    ];
    for (name, content) in files {
        fs::write(directory.join(name), content)?;
        context.printer.data(directory.join(name).display());
    }
    let served = layout::certificate(repository.fingerprint().as_str());
    context.printer.say(format_args!("The server also offers them, as `{served}` and so on"));
    Ok(ExitStatus::Done)
}
