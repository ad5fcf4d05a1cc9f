//! However a transfer is cut, the same file comes out.

use proptest::collection::vec;
use proptest::prelude::*;
use rootcellar_transfer::Limits;

use crate::cellar::{Cellar, content, fetcher, quick};
use crate::server::{Reply, Server};

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each connection breaks after so many bytes; each run is patient for so many of them.
    #[test]
    fn any_split_into_cuts_yields_the_same_file(
        size in 0_usize..60_000,
        cuts in vec(0_usize..30_000, 0..8),
        retries in 0_usize..3,
        ranges: bool,
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let (file, breaks) = (content(size), cuts.clone());
            let server = Server::start({
                let file = file.clone();
                move |ask| {
                    let reply = if ranges { Reply::ranged(ask, &file) } else { Reply::whole(&file) };
                    match breaks.get(ask.number) {
                        Some(&bytes) => reply.cut_after(bytes),
                        None => reply,
                    }
                }
            });
            let (cellar, fetcher) = (Cellar::new(), fetcher(Limits { retries, ..quick() }));
            let mut runs = 0;
            while let Err(error) = cellar.fetch(&fetcher, &server.url("/rootfs"), &file).await {
                runs += 1;
                assert!(error.is_retryable(), "{error:?}");
                assert!(runs <= cuts.len(), "each failed run must have met a cut");
                let kept = cellar.partial_bytes().unwrap();
                assert!(file.starts_with(&kept), "a partial is a prefix of the file");
            }
            assert!(cellar.done_bytes() == Some(file.clone()));
            assert!(cellar.partial_bytes().is_none());
            if ranges {
                assert_eq!(server.sent_bytes(), file.len() as u64, "no byte is sent twice");
            }
        });
    }
}
