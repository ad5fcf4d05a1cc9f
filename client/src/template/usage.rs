//! The template's help.

/// What `--help` prints, and every refused command line.
pub const USAGE: &str = "\
Makes an LXC container from a signed, prebuilt image.

Instead of making one:
  -h, --help               show this text
  -l, --list               list the images of the server

The image; what is missing is asked for:
  -d, --dist NAME          distribution
  -r, --release NAME       release
  -a, --arch NAME          architecture
      --variant NAME       variant (default: default)

The server:
      --server HOST[:PORT][/PREFIX]
                           (default: from client.toml, else images.linuxcontainers.org)
      --fingerprint FPR    the key that signs for it; configured remotes need none
                           (default: ROOTCELLAR_FINGERPRINT)
      --channel NAME       its channel
      --ca FILE            certificates to trust for TLS besides the system's
                           (default: ROOTCELLAR_CA)
      --trust-tls          do without signatures, trust its TLS certificate alone
      --accept-expired-index
                           use an index past its validity

The cache:
      --flush-cache        forget the cached copy first
      --force-cache        use the cached copy even when it should be refreshed

What is logged:
      --verbose            progress in detail

The container:
      --allow-config-key KEY
                           let the image set a key that can reach the host

Passed by LXC:
      --name NAME  --path DIR  --rootfs DIR  --mapped-uid ID  --mapped-gid ID

Options of older templates are accepted and do nothing:
      --keyid ID  --keyserver URL  --no-validate  --standard-resolver";
