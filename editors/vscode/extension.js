// Starts `tdl lsp` and lets the editor speak with it.
const vscode = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

exports.activate = async function () {
  const command = vscode.workspace.getConfiguration("tdl").get("path", "tdl");
  client = new LanguageClient(
    "tdl",
    "tdl",
    { command, args: ["lsp"] },
    { documentSelector: [{ language: "tdl" }] },
  );
  await client.start();
};

exports.deactivate = function () {
  return client?.stop();
};
