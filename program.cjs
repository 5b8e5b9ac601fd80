// What Pulumi starts. The program itself is index.ts.
module.exports = require("./toolchain/program-loader.cjs").loadProgram(`${__dirname}/index.ts`);
