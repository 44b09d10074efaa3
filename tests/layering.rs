//! The plan of the house, held: imports between the rooms of `src/` point down. ARCHITECTURE.md draws the plan.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, from the ground up. A room knows those below it, and itself; two rooms on one floor do not know each other.
const FLOORS: [&[&str]; 8] = [
    &["base"],
    &["net"],
    &["stream"],
    &["reactor"],
    &["connect", "framing", "handle", "listen", "watch"],
    &["tls"],
    &["pool", "sim"],
    &["http"],
];

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The code without comments, and without the unit tests at its end, which may look wherever they need.
fn code(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// In which room the crate's public names are: `pub use base::config::Config` puts `Config` into `base`.
fn public_names(lib: &str) -> BTreeMap<String, String> {
    let uses = code(lib);
    let uses = uses.split(';').filter_map(|statement| statement.trim().strip_prefix("pub use "));
    let mut names = BTreeMap::new();
    for path in uses.filter(|path| path.contains("::")) {
        let (module, last) = path.rsplit_once("::").unwrap_or_default();
        let (module, last) = path.split_once("::{").unwrap_or((module, last));
        let room = module.split("::").next().unwrap_or_default();
        for name in last.trim_end_matches('}').split(',') {
            names.insert(name.trim().to_string(), room.to_string());
        }
    }
    names
}

/// What follows each `crate::`: one name, or those of a group in braces.
fn imports(code: &str) -> Vec<String> {
    let first =
        |path: &str| path.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_string);
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{').and_then(|group| group.split('}').next()) {
            Some(group) => found.extend(group.split(',').filter_map(first)),
            None => found.extend(first(rest)),
        }
    }
    found
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            files(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
}

#[test]
fn imports_point_down() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let names = public_names(&fs::read_to_string(source.join("lib.rs")).unwrap());
    let mut all = Vec::new();
    files(&source, &mut all);
    let (mut seen, mut up) = (0, Vec::new());
    for file in all {
        let path = file.strip_prefix(&source).unwrap();
        let room = path.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if room == "lib"
            || path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
        {
            continue;
        }
        let own =
            floor(room).unwrap_or_else(|| panic!("{room} is a new room: on which floor does it stand?"));
        for name in imports(&code(&fs::read_to_string(&file).unwrap())) {
            let target = names.get(&name).unwrap_or(&name);
            if let Some(other) = floor(target) {
                seen += 1;
                if target != room && other >= own {
                    up.push(format!("{} imports {name} from {target}", path.display()));
                }
            }
        }
    }
    assert!(seen > 300, "only {seen} imports were found: does this test still read them?");
    assert!(up.is_empty(), "these imports do not point down:\n{}", up.join("\n"));
}

/// Whether ARCHITECTURE.md speaks of a file by its folder only.
fn by_folder(path: &str) -> bool {
    ["net/simulated/", "pool/", "http/"].iter().any(|folder| path.starts_with(folder))
        || path.ends_with("tests")
}

#[test]
fn the_map_names_every_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let rows =
        page.lines().skip_while(|line| *line != "## The map").skip_while(|line| !line.starts_with("| `"));
    let cells = rows.take_while(|line| line.starts_with('|')).filter_map(|row| row.split('|').nth(1));
    let named: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let source = root.join("src");
    for name in &named {
        let place = source.join(name);
        assert!(
            place.is_dir() || place.with_extension("rs").is_file(),
            "the map names {name}, which is not there"
        );
    }
    let mut all = Vec::new();
    files(&source, &mut all);
    for file in all {
        let path = file.strip_prefix(&source).unwrap().with_extension("");
        let path = path.to_str().unwrap();
        let is_named =
            named.contains(&path) || ["lib", "base/mod", "net/mod"].contains(&path) || by_folder(path);
        assert!(is_named, "the map leaves out {path}");
    }
}
