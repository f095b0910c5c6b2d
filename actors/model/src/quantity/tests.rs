use super::*;
use proptest::prelude::*;

fn q(text: &str) -> Quantity {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn quantities_are_written_canonically() {
    let cases = [
        ("0", "0"),
        ("0.5", "500m"),
        ("100m", "100m"),
        ("1000m", "1"),
        ("1.5", "1500m"),
        ("1500", "1500"),
        ("1000", "1k"),
        ("1024Mi", "1Gi"),
        ("1536Mi", "1536Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("0.1Ki", "102400m"),
        ("12e6", "12e6"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("100e2", "10e3"),
        ("1E", "1E"),
        ("-2Ki", "-2Ki"),
        ("+5", "5"),
        (".5", "500m"),
        ("5.", "5"),
        ("1n", "1n"),
        ("0.1n", "1n"),
        ("1.0000000001", "1000000001n"),
        ("128974848", "128974848"),
        ("129e6", "129e6"),
        ("129M", "129M"),
        ("123Mi", "123Mi"),
        ("8Ei", "9223372036854775807"),
        ("99999999999999999999999999999999E", "9223372036854775807"),
        ("1e2147483647", "9223372036854775807"),
        ("1e-2147483647", "1e-9"),
    ];
    for (input, output) in cases {
        assert_eq!(q(input).to_string(), output, "{input}");
    }
}

#[test]
fn what_is_no_quantity_is_refused() {
    for text in ["", "Mi", "-", ".", "1.2.3", " 1", "a1"] {
        assert_eq!(
            text.parse::<Quantity>(),
            Err(QuantityError::Format),
            "{text}"
        );
    }
    for text in [
        "1mi",
        "1KI",
        "1 Gi",
        "1e",
        "1ee3",
        "5B",
        "1e99999999999",
        "1Kii",
    ] {
        assert_eq!(
            text.parse::<Quantity>(),
            Err(QuantityError::Suffix),
            "{text}"
        );
    }
}

#[test]
fn rounding_goes_up() {
    assert_eq!(q("1m").value_ceil(), 1);
    assert_eq!(q("1500m").value_ceil(), 2);
    assert_eq!(q("-1500m").value_ceil(), -1);
    assert_eq!(q("1u").milli_ceil(), 1);
    assert_eq!(q("250m").milli_ceil(), 250);
    assert_eq!(q("8Ei").milli_ceil(), i64::MAX);
    assert_eq!(q("64Mi").value_ceil(), 64 << 20);
}

#[test]
fn amounts_compare_however_they_are_written() {
    assert_eq!(q("1"), q("1000m"));
    assert!(q("1Gi") > q("1G"));
    assert!(q("999m") < q("1"));
    assert_eq!((q("1Gi") + q("512Mi")).to_string(), "1536Mi");
    assert_eq!((q("1") - q("250m")).to_string(), "750m");
    let sum: Quantity = [q("0"), q("1Gi"), q("1Gi")].into_iter().sum();
    assert_eq!(sum.to_string(), "2Gi");
}

proptest! {
    #[test]
    fn the_canonical_form_means_the_same(nanos in -MAX..=MAX, binary: bool) {
        let format = if binary { Format::BinarySi } else { Format::DecimalSi };
        let quantity = Quantity { nanos, format };
        prop_assert_eq!(q(&quantity.to_string()), quantity);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[+-]?[0-9.]{0,40}[eEinumkKMGTP]{0,3}[-+]?[0-9]{0,12}") {
        if let Ok(quantity) = text.parse::<Quantity>() {
            prop_assert_eq!(q(&quantity.to_string()), quantity);
        }
    }
}
