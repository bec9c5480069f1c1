#!/usr/bin/env node
// Old syntax on purpose: too old a Node has to get as far as saying so.
import fs from "fs";
import module from "module";
import os from "os";
import path from "path";
import url from "url";

var major = Number(process.versions.node.split(".")[0]);

if (major < 24) {
  process.stderr.write("error: Leasehold needs Node.js 24 or newer; this is v" + process.versions.node + ".\n");
  process.exit(1);
}

// Compiled code is kept between runs: a command starts in half the time. In the caller's own cache folder and
// never in Node's default, a name in /tmp that another user of the machine could have taken first.
module.enableCompileCache(path.join(process.env.XDG_CACHE_HOME || path.join(os.homedir(), ".cache"), "leasehold"));

// A checkout runs its source, which a build beside it may be older than. A package has the build only.
var source = new URL("../src/main.ts", import.meta.url);
var built = new URL("../dist/src/main.js", import.meta.url);

void import(fs.existsSync(url.fileURLToPath(source)) ? source.href : built.href);
