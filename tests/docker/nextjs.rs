//! Next.js: its standalone server, with portero where dumb-init and wget stood.

use crate::common::{Run, TempDir, packages, tool};
use crate::engine::{BUILD_LIMIT, Container};
use crate::production::{
    TIMED_OUT_CHECKS, assert_only_portero, assert_reaps_timed_out_checks, assert_runs_as,
    assert_stops,
};
use crate::{http, images};

#[test]
fn a_next_js_server_is_healthy_unprivileged_and_ends_at_once() {
    let context = TempDir::new();
    images::copy(&images::source("apps").join("nextjs"), context.path());
    let package = images::source("apps").join("nextjs/package.json");
    let modules = packages::node(&package).join("node_modules");
    Run::program(tool("cp"))
        .arg("-r")
        .args([modules.as_path(), context.path()])
        .start()
        .wait_at_most(BUILD_LIMIT)
        .assert_exit(0);
    let image = images::build("app-nextjs", &context, &[]);
    drop(context);

    let container = Container::run(&image, &[], &[]);
    assert_runs_as(&container, 1001);
    assert!(http::get(&container, 3000, "/").contains("<h1>Shop</h1>"));
    assert_stops(&container, 0);

    let port = Container::run(&image, &["--env", "PORT=4001"], &[]);
    assert_runs_as(&port, 1001);
    assert!(http::get(&port, 4001, "/api/health").contains("\"ok\""));

    let probed = Container::run(&image, &TIMED_OUT_CHECKS, &[]);
    assert_reaps_timed_out_checks(&probed);
    assert_stops(&probed, 0);
    assert_only_portero(&image);
}
