//! Whether a file is a plugin this host can run, read from the component's own exports and imports before anything is
//! compiled; if not, a text that says what would fit.

use std::fmt;

use semver::Version;
use wasmparser::{Encoding, Parser, Payload};

use super::Role;

/// The version of the role interfaces that this host serves, and the older ones it still understands.
const SERVED: Version = Version::new(0, 1, 0);
/// The first bytes of every WebAssembly binary.
const MAGIC: &[u8] = b"\0asm";
/// The first bytes of programs and libraries of a Unix machine, and of what wasmtime compiles to.
const ELF: &[u8] = b"\x7fELF";
/// Where such a file says which system it is for, and what wasmtime writes there (`ELFOSABI_WASMTIME`).
const ELF_SYSTEM: (usize, u8) = (7, 200);
/// How many functions a component may have, over all its modules; Python's have some 40,000.
const MOST_FUNCTIONS: u64 = 500_000;
/// How deep components and modules may lie in each other.
const DEEPEST: u32 = 16;
/// How many components and modules may lie in it.
const MOST_PARTS: u32 = 256;
/// How many names a text lists.
const MOST_NAMES: usize = 8;

/// A package of which this host offers interfaces to plugins.
struct Offer {
    package: &'static str,
    /// Of those at `wasi:…@0.2` every other patch version fits as well, since these only ever add to each other.
    version: &'static str,
    interfaces: &'static [&'static str],
}

const fn offer(package: &'static str, version: &'static str, interfaces: &'static [&'static str]) -> Offer {
    Offer { package, version, interfaces }
}

const OFFERED: [Offer; 11] = [
    offer(
        "wasi:cli",
        "0.2.12",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    offer("wasi:clocks", "0.2.12", &["monotonic-clock", "wall-clock"]),
    offer("wasi:filesystem", "0.2.12", &["types", "preopens"]),
    offer("wasi:http", "0.2.12", &["types", "outgoing-handler"]),
    offer("wasi:io", "0.2.12", &["error", "poll", "streams"]),
    offer("wasi:random", "0.2.12", &["insecure-seed", "insecure", "random"]),
    offer(
        "wasi:sockets",
        "0.2.12",
        &[
            "network",
            "instance-network",
            "ip-name-lookup",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
        ],
    ),
    offer("wasi:config", "0.2.0-rc.1", &["store"]),
    offer("wasi:logging", "0.1.0-draft", &["logging"]),
    offer("campanile:types", "0.1.0", &["types"]),
    offer(MAIL, "0.1.0", &["sender"]),
];
/// Offered to notifiers alone.
const MAIL: &str = "campanile:mail";

/// What a component says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contract {
    pub role: Role,
    /// The version of the role's interface that it was built for.
    pub version: String,
    /// Whether it would like to send mail.
    pub imports_mail: bool,
}

/// Why a file is not a plugin that this host can run; the text is the whole explanation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ContractError {
    #[error("the file is empty: was it copied completely?")]
    Empty,
    #[error(
        "this is WebAssembly text: turn it into a binary component, for example with `wasm-tools component new`"
    )]
    Text,
    #[error(
        "this is machine code that wasmtime compiled earlier (.cwasm), which is never loaded: drop the .wasm it was made from"
    )]
    Precompiled,
    #[error(
        "this is a program or library for a machine (ELF), not WebAssembly: build it with \
         `cargo build --release --target wasm32-wasip2` or `cargo component build --release`, and drop the .wasm from \
         target/wasm32-wasip2/release or target/wasm32-wasip1/release"
    )]
    Native,
    #[error("this is not WebAssembly: it begins with {0}, not with 00 61 73 6d")]
    NotWasm(String),
    #[error(
        "this is a core module, not a component: build it with `cargo build --release --target wasm32-wasip2` or \
         `cargo component build --release`"
    )]
    CoreModule,
    #[error("the file is truncated or damaged: {0}")]
    Damaged(String),
    #[error("it has more than {0}: nothing that a toolchain makes of a plugin is that large")]
    TooLarge(String),
    #[error(
        "it exports none of the interfaces that make a plugin; expected one of {}; found {}",
        roles(),
        listed(.0)
    )]
    NoRole(Vec<String>),
    #[error(
        "it exports {0}, but this host serves version {SERVED}: rebuild the plugin against that version of wit/"
    )]
    OtherVersion(String),
    #[error("it has several roles ({}): a plugin has one; split it", listed(.0))]
    SeveralRoles(Vec<String>),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Imports(Vec<ImportError>),
}

/// An import that the host cannot satisfy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ImportError {
    #[error("it imports {import}, but this host offers {package} in version {offered}")]
    OtherVersion { import: String, package: &'static str, offered: &'static str },
    #[error("it imports {import}, but of {package} this host offers only {}", .offered.join(", "))]
    OtherInterface { import: String, package: &'static str, offered: &'static [&'static str] },
    #[error("it imports {0}, which is offered to notifiers only")]
    NotifiersOnly(String),
    #[error("it imports {0}, which this host does not offer")]
    Unknown(String),
}

/// Reads what the component exports and imports, without validating or compiling it.
pub(super) fn inspect(bytes: &[u8]) -> Result<Contract, ContractError> {
    check_magic(bytes)?;
    let names = Names::read(bytes)?;
    let mut contract = role_of(&names.exports)?;
    contract.imports_mail = names.imports.iter().any(|import| package(import) == MAIL);
    let refused: Vec<_> =
        names.imports.iter().filter_map(|import| refuse_import(import, contract.role)).collect();
    if refused.is_empty() { Ok(contract) } else { Err(ContractError::Imports(refused)) }
}

fn check_magic(bytes: &[u8]) -> Result<(), ContractError> {
    let start = bytes.trim_ascii_start();
    match bytes {
        [] => Err(ContractError::Empty),
        _ if bytes.starts_with(MAGIC) => Ok(()),
        _ if bytes.starts_with(ELF) && bytes.get(ELF_SYSTEM.0) == Some(&ELF_SYSTEM.1) => {
            Err(ContractError::Precompiled)
        }
        _ if bytes.starts_with(ELF) => Err(ContractError::Native),
        _ if start.starts_with(b"(") || start.starts_with(b";;") => Err(ContractError::Text),
        _ if MAGIC.starts_with(bytes) => {
            Err(ContractError::Damaged(format!("it ends after {} bytes", bytes.len())))
        }
        _ => {
            let start: Vec<String> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            Err(ContractError::NotWasm(start.join(" ")))
        }
    }
}

/// The names of a component's own imports and exports.
#[derive(Default)]
struct Names {
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Names {
    fn read(bytes: &[u8]) -> Result<Self, ContractError> {
        let mut names = Self::default();
        let (mut depth, mut parts, mut functions) = (0_u32, 0_u32, 0_u64);
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(damaged)? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                    return Err(ContractError::CoreModule);
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                    depth += 1;
                    parts += 1;
                    at_most(depth, DEEPEST, "components within each other")?;
                    at_most(parts, MOST_PARTS, "components and modules in it")?;
                }
                Payload::CodeSectionStart { count, .. } => {
                    functions += u64::from(count);
                    at_most(functions, MOST_FUNCTIONS, "functions")?;
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    for import in imports {
                        names.imports.push(import.map_err(damaged)?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    for export in exports {
                        names.exports.push(export.map_err(damaged)?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(names)
    }
}

fn at_most<N: PartialOrd + fmt::Display>(found: N, most: N, what: &str) -> Result<(), ContractError> {
    if found > most { Err(ContractError::TooLarge(format!("{most} {what}"))) } else { Ok(()) }
}

fn damaged(error: wasmparser::BinaryReaderError) -> ContractError {
    ContractError::Damaged(format!("{} at byte {}", error.message(), error.offset()))
}

fn role_of(exports: &[String]) -> Result<Contract, ContractError> {
    let mut found = Vec::new();
    for export in exports {
        let (interface, version) = split_version(export);
        if let Some(role) = Role::ALL.into_iter().find(|role| role.interface() == interface) {
            found.push((role, version, export));
        }
    }
    match found.as_slice() {
        [] => Err(ContractError::NoRole(exports.to_vec())),
        [(role, version, export)] => match version.parse::<Version>() {
            Ok(version) if is_served(&version) => {
                Ok(Contract { role: *role, version: version.to_string(), imports_mail: false })
            }
            _ => Err(ContractError::OtherVersion((*export).clone())),
        },
        several => {
            Err(ContractError::SeveralRoles(several.iter().map(|(_, _, export)| (*export).clone()).collect()))
        }
    }
}

fn refuse_import(import: &str, role: Role) -> Option<ImportError> {
    let (_, version) = split_version(import);
    let package = package(import);
    if package == MAIL && role != Role::Notifier {
        return Some(ImportError::NotifiersOnly(import.to_owned()));
    }
    let Some(Offer { package, version: offered, interfaces }) =
        OFFERED.into_iter().find(|offer| offer.package == package)
    else {
        return Some(ImportError::Unknown(import.to_owned()));
    };
    let import = import.to_owned();
    if version != offered && !is_same_line(version, offered) {
        return Some(ImportError::OtherVersion { import, package, offered });
    }
    let is_offered = interfaces.contains(&interface(&import));
    (!is_offered).then_some(ImportError::OtherInterface { import, package, offered: interfaces })
}

/// Plugins built for an earlier patch version run as well; a later one may expect what is not there yet.
fn is_served(version: &Version) -> bool {
    is_of_line(version, &SERVED) && *version <= SERVED
}

/// `0.2.3` for `0.2.12`: both releases, and of one minor version.
fn is_same_line(version: &str, offered: &str) -> bool {
    match (version.parse(), offered.parse()) {
        (Ok(version), Ok(offered)) => is_of_line(&version, &offered),
        _ => false,
    }
}

/// A pre-release fits nothing but itself.
fn is_of_line(version: &Version, other: &Version) -> bool {
    let line = |version: &Version| (version.major, version.minor);
    version.pre.is_empty() && other.pre.is_empty() && line(version) == line(other)
}

/// `wasi:http` of `wasi:http/types@0.2.12`.
fn package(name: &str) -> &str {
    let (interface, _) = split_version(name);
    interface.split_once('/').map_or(interface, |(package, _)| package)
}

/// `types` of `wasi:http/types@0.2.12`.
fn interface(name: &str) -> &str {
    split_version(name).0.split_once('/').map_or("", |(_, interface)| interface)
}

fn split_version(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

fn roles() -> String {
    Role::ALL.map(|role| format!("{}@{SERVED}", role.interface())).join(", ")
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "no exports".to_owned(),
        names if names.len() > MOST_NAMES => {
            format!("{} and {} more", names[..MOST_NAMES].join(", "), names.len() - MOST_NAMES)
        }
        names => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component with these imports and exports, each an instance without anything in it.
    fn component(imports: &[&str], exports: &[&str]) -> Vec<u8> {
        let mut bytes = vec![0x00, 0x61, 0x73, 0x6d, 0x0d, 0x00, 0x01, 0x00];
        if !imports.is_empty() {
            section(&mut bytes, 7, &[0x01, 0x42, 0x00]);
            section(&mut bytes, 10, &vector(imports, &[0x05, 0x00]));
        }
        section(&mut bytes, 5, &[0x01, 0x01, 0x00]);
        let instance = u8::try_from(imports.len()).unwrap();
        section(&mut bytes, 11, &vector(exports, &[0x05, instance, 0x00]));
        bytes
    }

    fn vector(names: &[&str], description: &[u8]) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(names.len()).unwrap()];
        for name in names {
            bytes.extend([0x00, u8::try_from(name.len()).unwrap()]);
            bytes.extend(name.as_bytes());
            bytes.extend(description);
        }
        bytes
    }

    fn section(bytes: &mut Vec<u8>, id: u8, content: &[u8]) {
        let mut length = content.len();
        bytes.push(id);
        while length >= 0x80 {
            bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        bytes.push(u8::try_from(length).unwrap());
        bytes.extend(content);
    }

    fn text(bytes: &[u8]) -> String {
        inspect(bytes).unwrap_err().to_string()
    }

    #[test]
    fn a_plugin_says_its_role_and_version() {
        let bytes = component(
            &[
                "campanile:types/types@0.1.0",
                "wasi:cli/exit@0.2.3",
                "wasi:http/types@0.2.12",
                "wasi:config/store@0.2.0-rc.1",
            ],
            &["campanile:processor/processor@0.1.0"],
        );
        let contract = |role, imports_mail| Contract { role, version: "0.1.0".to_owned(), imports_mail };
        assert_eq!(inspect(&bytes), Ok(contract(Role::Processor, false)));
        let mailing = component(&["campanile:mail/sender@0.1.0"], &["campanile:notifier/notifier@0.1.0"]);
        assert_eq!(inspect(&mailing), Ok(contract(Role::Notifier, true)));
        let source = component(&["wasi:config/store@0.2.0-rc.1"], &["campanile:source/source@0.1.0"]);
        assert_eq!(inspect(&source), Ok(contract(Role::Source, false)));
    }

    #[test]
    fn what_is_no_component_is_named_for_what_it_is() {
        assert!(text(b"").contains("empty"));
        assert!(text(b"\n(component)").contains("WebAssembly text"));
        assert!(text(b"\x7fELF\x02\x01\x01\xc8\0").contains(".cwasm"));
        // As `cargo build` writes a cdylib without a target.
        assert!(text(b"\x7fELF\x02\x01\x01\0\0").contains("--target wasm32-wasip2"));
        assert!(text(b"\0as").contains("ends after 3 bytes"));
        assert!(text(b"GIF89a").contains("begins with 47 49 46 38, not"));
        assert!(text(b"\0asm\x01\0\0\0").contains("core module"));
        let whole = component(&[], &["campanile:notifier/notifier@0.1.0"]);
        assert!(text(&whole[..whole.len() - 5]).contains("truncated or damaged"));
    }

    #[test]
    fn what_no_toolchain_makes_is_refused_unseen() {
        let mut nested = component(&[], &["campanile:notifier/notifier@0.1.0"]);
        for _ in 0..=DEEPEST {
            let inner = std::mem::replace(&mut nested, component(&[], &[]));
            section(&mut nested, 4, &inner);
        }
        assert!(text(&nested).contains("more than 16 components within each other"), "{}", text(&nested));
        let mut wide = component(&[], &[]);
        (0..=MOST_PARTS).for_each(|_| section(&mut wide, 1, b"\0asm\x01\0\0\0"));
        assert!(text(&wide).contains("more than 256 components and modules"), "{}", text(&wide));
    }

    #[test]
    fn a_missing_or_foreign_role_is_explained() {
        assert!(text(&component(&[], &["wasi:cli/run@0.2.0"])).contains("found wasi:cli/run@0.2.0"));
        let newer = text(&component(&[], &["campanile:notifier/notifier@0.2.0"]));
        assert!(
            newer.contains("campanile:notifier/notifier@0.2.0") && newer.contains("serves version 0.1.0"),
            "{newer}"
        );
        let both = ["campanile:notifier/notifier@0.1.0", "campanile:processor/processor@0.1.0"];
        assert!(text(&component(&[], &both)).contains("several roles"));
    }

    #[test]
    fn every_import_that_does_not_fit_is_named_with_what_would() {
        let imports = [
            "wasi:http/types@0.3.0",
            "acme:kv/store@1.0.0",
            "campanile:mail/sender@0.1.0",
            "wasi:io/poll@0.2.0",
        ];
        let text = text(&component(&imports, &["campanile:processor/processor@0.1.0"]));
        assert_eq!(
            text,
            "it imports wasi:http/types@0.3.0, but this host offers wasi:http in version 0.2.12; \
             it imports acme:kv/store@1.0.0, which this host does not offer; \
             it imports campanile:mail/sender@0.1.0, which is offered to notifiers only"
        );
    }

    #[test]
    fn an_interface_that_is_not_offered_is_named_with_those_that_are() {
        let imports = ["wasi:http/incoming-handler@0.2.12", "wasi:http/types@0.2.3"];
        assert_eq!(
            text(&component(&imports, &["campanile:notifier/notifier@0.1.0"])),
            "it imports wasi:http/incoming-handler@0.2.12, but of wasi:http this host offers only types, outgoing-handler"
        );
    }

    /// The interfaces of `wit/deps`, but for those that a plugin exports and one that WASI has not settled yet.
    #[test]
    fn what_is_offered_is_what_the_contract_has() {
        const LEFT_OUT: [(&str, &str); 3] =
            [("wasi:cli", "run"), ("wasi:http", "incoming-handler"), ("wasi:clocks", "timezone")];
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/deps");
        for offer in OFFERED.into_iter().filter(|offer| offer.package.starts_with("wasi:")) {
            let name = offer.package.strip_prefix("wasi:").unwrap();
            let files = [root.join(format!("{name}.wit")), root.join(format!("wasi-{name}/store.wit"))];
            let text = files.iter().find_map(|file| std::fs::read_to_string(file).ok()).unwrap();
            let interfaces = text.lines().filter_map(|line| line.trim_start().strip_prefix("interface "));
            let mut interfaces: Vec<_> = interfaces
                .filter_map(|rest| rest.split_whitespace().next())
                .filter(|interface| !LEFT_OUT.contains(&(offer.package, interface)))
                .collect();
            let mut offered = offer.interfaces.to_vec();
            interfaces.sort_unstable();
            offered.sort_unstable();
            assert_eq!(offered, interfaces, "{}", offer.package);
        }
    }
}
