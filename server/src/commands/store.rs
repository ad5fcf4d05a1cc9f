//! `rootcellar-server store`.

use clap::{Args, Subcommand};
use formats::time::Span;
use fs_err as fs;
use serde_json::json;
use terminal::{ExitStatus, OutputFormat, Table};

use crate::cli::Context;
use crate::data::Writer;
use crate::error::Error;
use crate::files;
use crate::store::{Claim, Objects, Place, Redirect, Settings, SettingsError, Store};
use crate::token::random_name;

/// Show and choose where the builds are: in the data directory, or in an object store that speaks S3.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Show where the builds are.
    Show(ShowArgs),
    /// Keep the builds in an object store. Those there are already are moved.
    ///
    /// Credentials come from `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or the other sources that tools for S3 know. A
    /// bucket, or the part of it that a prefix names, belongs to one data directory. Run it again to change the other
    /// settings of the same place.
    Use(UseArgs),
}

/// What `store show` takes.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Write a table for people or JSON for programs.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

/// What `store use` takes.
#[derive(Debug, Args)]
pub struct UseArgs {
    /// The bucket, or a part of it.
    #[arg(value_name = "s3://BUCKET[/PREFIX]")]
    place: Place,

    /// The server, such as `https://s3.example.org`; `http://…` is not encrypted [default: Amazon's].
    #[arg(long, value_name = "URL", value_parser = url)]
    endpoint: Option<String>,

    /// The region.
    #[arg(long)]
    region: Option<String>,

    /// Send clients to the object store for files, by signed URLs; by default this server passes files on.
    #[arg(long)]
    redirect: bool,

    /// The address of the object store for clients, if that is another one.
    #[arg(long, value_name = "URL", requires = "redirect", value_parser = url)]
    public_endpoint: Option<String>,

    /// How long a client may take from the redirect to its request.
    #[arg(long, value_name = "SPAN", requires = "redirect", default_value = "15m")]
    redirect_validity: Span,

    /// Take the place over from another data directory, which must never write there again.
    #[arg(long)]
    take_over_from_another_server: bool,
}

/// Runs `rootcellar-server store`.
pub fn run(command: &StoreCommand, context: &Context) -> Result<ExitStatus, Error> {
    match command {
        StoreCommand::Show(args) => show(args, context),
        StoreCommand::Use(args) => use_objects(args, context),
    }
}

fn show(args: &ShowArgs, context: &Context) -> Result<ExitStatus, Error> {
    let settings = Settings::read(context.data.root())?;
    let place = settings
        .as_ref()
        .map_or_else(|| context.data.images().display().to_string(), |settings| settings.place.to_string());
    let endpoint = settings.as_ref().and_then(|settings| settings.endpoint.clone());
    let redirect = settings.as_ref().and_then(|settings| settings.redirect.clone());
    let files = match &redirect {
        Some(redirect) => format!("clients are sent there for {}", redirect.validity),
        None => "sent by this server".to_owned(),
    };
    let mut table = Table::new(["BUILDS", "ENDPOINT", "FILES"]);
    table.row([&place, endpoint.as_deref().unwrap_or("-"), &files]);
    let validity = redirect.map(|redirect| redirect.validity.to_string());
    context.printer.listing(
        args.format,
        &table,
        &json!({ "place": place, "endpoint": endpoint, "redirect_validity": validity }),
    );
    Ok(ExitStatus::Done)
}

fn use_objects(args: &UseArgs, context: &Context) -> Result<ExitStatus, Error> {
    let writer = context.data.write(&context.printer)?;
    let before = Settings::read(writer.root())?;
    if let Some(before) = before.as_ref().filter(|before| before.place != args.place) {
        return Err(SettingsError::Elsewhere { place: before.place.to_string() }.into());
    }
    let owner = match &before {
        Some(before) => before.owner.clone(),
        None => random_name().map_err(std::io::Error::other)?,
    };
    let redirect = Redirect { endpoint: args.public_endpoint.clone(), validity: args.redirect_validity };
    let mut settings = Settings::new(args.place.clone(), owner);
    settings.endpoint.clone_from(&args.endpoint);
    settings.region.clone_from(&args.region);
    settings.redirect = args.redirect.then_some(redirect);
    match Objects::claim(&settings, args.take_over_from_another_server)? {
        Claim::New | Claim::Ours => {}
        Claim::TakenOver => context
            .printer
            .warn(format_args!("`{}` was taken over; the other data directory must not be used any more", args.place)),
    }
    if args.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://")) {
        context.printer.warn("the way to the object store is not encrypted");
    }
    let objects = Store::in_objects(&settings)?;
    let moved = if before.is_none() { copy(&Store::new(&writer), &objects, &writer, context)? } else { Vec::new() };
    writer.put(&writer.store_settings(), settings.to_toml()?.as_bytes(), 0o600)?;
    for build in &moved {
        Store::new(&writer).remove(&writer, build)?;
    }
    context.printer.say(format_args!("{:<30}{}", "Builds are now in", args.place));
    context.printer.data(&args.place);
    Ok(ExitStatus::Done)
}

/// Copies every build that is not there yet.
fn copy(from: &Store, to: &Store, writer: &Writer, context: &Context) -> Result<Vec<crate::store::BuildId>, Error> {
    let builds = from.builds()?;
    for build in &builds {
        let Some(record) = from.record(build)? else { continue };
        match to.record(build)? {
            Some(there) if there == record => continue,
            Some(_) => return Err(SettingsError::Different { build: Box::new(build.clone()) }.into()),
            None => {}
        }
        let staged = tempfile::Builder::new().prefix("moved-").tempdir_in(writer.staging())?.keep();
        for name in from.names(build)? {
            let path = from.local(build, &name, &staged)?;
            // A link, where the file is one of this file system.
            fs::hard_link(&path, staged.join(&name)).or_else(|_| fs::copy(&path, staged.join(&name)).map(|_| ()))?;
        }
        files::sync_directory(&staged)?;
        to.place(writer, build, staged)?;
        context.printer.say(format_args!("{:<30}{build}", "Moved"));
    }
    Ok(builds)
}

fn url(text: &str) -> Result<String, &'static str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_url = rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()));
    is_url.then(|| text.trim_end_matches('/').to_owned()).ok_or("expected a URL, such as `https://s3.example.org`")
}
