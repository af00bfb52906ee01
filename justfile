# What a change has to pass; the same steps as .ci/run.

# Everything.
check: fmt clippy doc deny machete demo openapi page deploy package test

# Formatting.
fmt:
    cargo fmt --check

# Lints, warnings as errors.
clippy:
    cargo clippy --all-targets --locked -- -D warnings

# The README's first command.
demo:
    cargo run --quiet --locked -- demo

# Clients generated from the API's description, and the API by it; installs what it needs by apt, pip and npm.
openapi:
    .ci/openapi

# Every page in Chromium: axe-core, both languages, themes, three widths; installs what it needs.
page:
    .ci/page

# The unit, the manifests, compose.yaml, metrics, alerts and dashboard; installs what it needs by apt.
deploy:
    .ci/deploy

# The package, image and bill of materials; installs what it needs, best as root. `deploy/release` makes a whole release.
package:
    .ci/package

# The README's test command.
test:
    cargo test --locked

# Documentation, private items included.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --locked

# Licences, banned crates and sources. Advisories need a database from the network: `cargo deny check`.
deny:
    cargo deny check bans licenses sources

# Dependencies that nothing uses.
machete:
    cargo machete
