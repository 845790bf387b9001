/** boto3 and the AWS CLI through the proxy, against an upstream that verifies each signature with botocore. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { pythonsWith, REAL, runIn, setUpAws } from "../support/aws/lab.ts";

const PYTHONS = pythonsWith("boto3");
const ignore = PYTHONS.length === 0;

const PROGRAM = `
import sys, json, boto3, io
from botocore.config import Config
port = sys.argv[1]
def client(name, **more):
    return boto3.client(name, endpoint_url=f"https://{name}.aws.test:{port}", **more)
s3 = client("s3", config=Config(s3={"addressing_style": "path"}, signature_version="s3v4"))
body = bytes(range(256)) * 1000
s3.put_object(Bucket="b", Key="dir/a key+(1)~ü.bin", Body=body, Metadata={"note": "two  spaces"}, CacheControl="no-cache")
assert s3.get_object(Bucket="b", Key="dir/a key+(1)~ü.bin")["Body"].read() == body
s3.put_object(Bucket="b", Key="empty", Body=b"")
s3.put_object(Bucket="b", Key="./../odd//key", Body=b"odd")
assert s3.get_object(Bucket="b", Key="./../odd//key")["Body"].read() == b"odd"
s3.list_objects_v2(Bucket="b", Prefix="a b/c+d", Delimiter="/")
url = s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "dir/a key+(1)~ü.bin"}, ExpiresIn=600)
print(url)
ddb = client("dynamodb")
assert ddb.get_item(TableName="table", Key={"id": {"S": "one"}})["Item"]["id"]["S"] == "one"
assert client("sts").get_caller_identity()["Account"] == "123456789012"
try:
    client("sts").get_session_token()
    sys.exit("STS gave out keys")
except Exception as error:
    print("refused:", error)
lam = client("lambda")
lam.invoke(FunctionName="arn:aws:lambda:eu-west-1:123456789012:function:f", Payload=b'{"a": 1}')
`;

Deno.test({
  name: "boto3 works with placeholder keys: S3, DynamoDB, Lambda, STS",
  ignore,
  fn: async (t) => {
    for (const python of PYTHONS) {
      await t.step(python, async () => {
        await using lab = await setUpAws();
        const { code, stdout, stderr } = await runIn(lab, python, ["-c", PROGRAM, String(lab.upstream.port)]);
        assertEquals(
          code,
          0,
          `${stdout}\n${stderr}\n${lab.proxy.lines.join("\n")}\n${JSON.stringify(lab.upstream.seen)}`,
        );
        assertEquals(lab.upstream.seen.filter(({ error }) => error !== null), []);
        assert(lab.upstream.seen.every(({ key }) => key === REAL.access_key_id));
        assertStringIncludes(stdout, "AKIASLICERPROXYDUMMY"); // in the presigned URL
        assertStringIncludes(stdout, "refused:");
        const denied = await lab.proxy.waitLine(/^deny .*reason=aws-scope/);
        assertStringIncludes(denied, "host=sts.aws.test");
        assert(!lab.upstream.seen.some(({ path, service }) => service === "sts" && path !== "/"));
      });
    }
  },
});
