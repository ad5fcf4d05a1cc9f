//! Any bytes are a products file or an error; what it lists has safe names.
#![no_main]

use formats::streams::Products;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(products) = serde_json::from_slice::<Products>(bytes) else { return };
    for (image, product) in products.images() {
        assert!(!image.to_string().contains(".."));
        product.builds().for_each(|(serial, _)| assert_eq!(serial.as_str().len(), 13));
    }
});
