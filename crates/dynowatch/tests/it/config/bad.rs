//! Every file of `bad/` against the errors in its last lines: `#! ` and the exact text, all of them, in their order. A
//! text that ends in `…` is a beginning, for lists that grow. `# env: NAME=VALUE` sets a variable for the file.

use proptest::prelude::*;

use super::*;

fn check(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).expect("a readable file");
    let after = |sign: &'static str| text.lines().filter_map(move |line| line.strip_prefix(sign));
    let changes: Vec<(&str, &str)> = after("# env: ").map(|line| line.split_once('=').expect("NAME=VALUE")).collect();
    let want: Vec<&str> = after("#! ").collect();
    let got = match config::parse("dynowatch.toml", &text, &env(&changes)) {
        Ok(_) => vec!["no error".to_owned()],
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    };
    let same = |(want, got): (&&str, &String)| match want.strip_suffix('…') {
        Some(beginning) => got.starts_with(beginning),
        None => want == got,
    };
    if want.len() == got.len() && want.iter().zip(&got).all(same) {
        return Ok(());
    }
    Err(format!("{} gives:\n{}", path.display(), lines(got.iter().map(|line| format!("#! {line}")))))
}

#[test]
fn bad_files_give_exactly_these_errors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/config/bad");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the folder").map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 16, "the folder lost files");
    let failed: Vec<String> = paths.iter().filter_map(|path| check(path).err()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn no_error_repeats_a_secret() {
    for file in ["secrets_in_the_file", "environment", "missing_secrets", "check_targets"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/config/bad/{file}.toml"));
        let text = std::fs::read_to_string(path).expect("a readable file");
        for line in text.lines().filter(|line| line.starts_with("#! ")) {
            assert!(!line.contains("hunter2") && !line.contains("two words"), "{file}: {line}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_with_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing.toml");
    let error = config::load(Some(&missing), &env(&[])).expect_err("no such file").to_string();
    assert!(error.starts_with(&missing.display().to_string()) && error.contains("cannot be opened"), "{error}");

    let latin = folder.path().join("latin.toml");
    std::fs::write(&latin, b"# one\n# caf\xe9\n").expect("a written file");
    let error = config::load(Some(&latin), &env(&[])).expect_err("not UTF-8").to_string();
    assert!(error.ends_with("line 2 is not UTF-8: save the file in that encoding"), "{error}");
}

#[test]
fn a_huge_file_is_refused_before_it_is_read() {
    let text = "#".repeat(usize::try_from(config::FILE_BYTES_MAX).unwrap() + 1);
    let error = config::parse("dynowatch.toml", &text, &env(&[])).expect_err("too large");
    assert_eq!(error.to_string(), "dynowatch.toml:1:1: a configuration has at most 4194304 bytes");
}

/// The limits that the manual names: as many are good, one more is an error that names both numbers.
#[test]
fn one_too_many_is_refused() {
    let named = |n: usize, list: &str, rest: &str| -> String {
        (0..n).map(|i| format!("[[{list}]]\nname = \"n{i}\"\n{rest}\n")).collect()
    };
    let listed = |n: usize, item: &str| (0..n).map(|i| format!("{item}{i}")).collect::<Vec<_>>();
    let tokens = |n| format!("[[apps]]\nname = \"a\"\ndrain_tokens = {:?}\n", listed(n, "d."));
    let receivers = |n| named(n, "receivers", "log = {}");
    let rules = |n| named(n, "rules", "match = { code = \"H12\" }\ncount = \"> 3\"\nwindow = \"5m\"");
    let own = 5_000 - dynowatch_domain::rule_pack::rules().len();
    let cases = [
        (tokens(50), tokens(51), "51 drain tokens are too many for one app: at most 50".to_owned()),
        (receivers(1_000), receivers(1_001), "1001 receivers are too many: at most 1000".to_owned()),
        (rules(own), rules(own + 1), format!("{} rules are too many: at most 5000", own + 1)),
    ];
    for (most, more, want) in cases {
        good(&most);
        let error = config::parse("dynowatch.toml", &more, &env(&[])).expect_err("one too many").to_string();
        assert!(error.contains(&want), "{want}: {error}");
    }
    let secrets = |n| listed(n, "a-secret-of-some-length-").join(",");
    good_in("", &[("HEROKU_LOG_DRAIN_HMAC_SECRET", &secrets(10))]);
    let more = env(&[("HEROKU_LOG_DRAIN_HMAC_SECRET", &secrets(11))]);
    let error = config::parse("dynowatch.toml", "", &more).expect_err("one too many").to_string();
    assert_eq!(error, "environment: HEROKU_LOG_DRAIN_HMAC_SECRET: holds 11 secrets: write at most 10");
}

/// Pieces that get deeper into the readers than arbitrary text does.
fn piece() -> impl Strategy<Value = String> {
    let keys: Vec<&'static str> = config::known_keys().map(|(_, key)| key).collect();
    let value = prop_oneof![
        Just("1".to_owned()),
        Just("true".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("[[1]]".to_owned()),
        Just("{ code = [\"H12\", \"é\"] }".to_owned()),
        any::<String>().prop_map(|text| format!("{text:?}")),
        "[<>=]{0,2} ?[0-9]{0,25}%?".prop_map(|text| format!("{text:?}")),
        "[0-9]{0,25}[smhd]{0,2}".prop_map(|text| format!("{text:?}")),
    ];
    let header = prop::sample::select(vec![
        "[server]",
        "[store]",
        "[drain]",
        "[defaults]",
        "[rule_pack]",
        "[rule_pack.rules.h12]",
        "[limits]",
        "[[apps]]",
        "[[receivers]]",
        "[[rules]]",
        "[prober]",
        "[[checks]]",
        "[[maintenance]]",
    ]);
    prop_oneof![
        3 => (prop::sample::select(keys), value).prop_map(|(key, value)| format!("{key} = {value}\n")),
        1 => header.prop_map(|header| format!("{header}\n")),
    ]
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>(), port in any::<String>()) {
        let _ = config::parse("dynowatch.toml", &text, &env(&[("PORT", &port), ("DATABASE_URL", &text)]));
    }

    #[test]
    fn arbitrary_files_never_panic_and_errors_have_a_place(pieces in prop::collection::vec(piece(), 0..40)) {
        let text = pieces.concat();
        if let Err(errors) = config::parse("dynowatch.toml", &text, &env(&[])) {
            prop_assert!(!errors.all().is_empty());
            for error in errors.all() {
                prop_assert!(error.line.is_some_and(|line| line as usize <= text.lines().count().max(1)), "{}", error);
                prop_assert!(!error.problem.is_empty() && !error.to_string().contains('\n'), "{}", error);
            }
        }
    }
}
